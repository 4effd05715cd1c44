// The custom resource on a real API server: it takes what an agent publishes, and
// refuses what src/plan/records/record.ts would, with a sentence that names the place.

import { beforeAll, expect, test } from "bun:test";
import { ParseError } from "../../src/net/error.ts";
import { parseNodeAddress, parsePodCidr } from "../../src/plan/records/record.ts";
import { generateKeyPair } from "../../src/state/keys.ts";
import { withLab } from "../lab/with-lab.ts";
import { describeKube } from "./support/gate.ts";
import { type KubeObject, KubeRefusal } from "./support/kube-client.ts";
import { pathOf, readManifest } from "./support/manifests.ts";
import { createNode, type RecordFields, recordObject, recordPath, recordsPath } from "./support/nodes.ts";
import { refused } from "./support/rejected.ts";
import { withApiServer } from "./support/with-api-server.ts";

const keys = {
  one: "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
  two: "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=",
  zero: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
};
const p = 2n ** 255n - 19n;
const littleEndian = (value: bigint) =>
  Buffer.from(value.toString(16).padStart(64, "0"), "hex").reverse().toString("base64");
const slotA = { slot: "a", publicKey: keys.one, port: 51820, state: "active" };
const slotB = { slot: "b", publicKey: keys.two, port: 51821, state: "draining" };
const good: RecordFields = {
  slots: [slotA, slotB],
  endpoints: ["192.0.2.1", "2001:db8::1"],
  nodeIPs: ["192.0.2.1", "2001:db8::1"],
  podCIDRs: ["10.244.1.0/24", "fd00:10:244:1::/64"],
};

describeKube("WireGuardNode", () => {
  const server = withApiServer(withLab("crd"), ["crd"]);
  let node: KubeObject;

  beforeAll(async () => {
    node = await createNode(server.admin, "n1");
  });

  const apply = (spec: object, dryRun = true) =>
    server.admin.apply(recordPath("n1"), recordObject(node, spec), { dryRun });

  test("comes back as it was applied", async () => {
    await apply(good, false);
    const { metadata, spec } = await server.admin.get(recordPath("n1"));
    expect(spec).toEqual(good);
    expect(metadata["ownerReferences"]).toMatchObject([{ kind: "Node", name: "n1", uid: node.metadata.uid }]);
  });

  test("keys of nodes are taken, up to the last of the field, with their proofs", async () => {
    const proof = Buffer.alloc(64, 7).toString("base64");
    const publicKeys = [
      littleEndian(p - 19n),
      ...Array.from({ length: 20 }, () => generateKeyPair().publicKey),
    ];
    for (const publicKey of publicKeys) {
      const slots = [{ ...slotA, publicKey, proof }];
      expect((await apply({ ...good, slots }))["spec"].slots).toEqual(slots);
    }
  });

  test("applied once more, it is not written", async () => {
    const before = await apply(good, false);
    const { metadata } = await apply(good, false);
    expect(metadata.resourceVersion).toBe(before.metadata.resourceVersion ?? "");
  });

  test("a node without keys, and one whose key is withdrawn, have records too", async () => {
    const nothing = { slots: [], endpoints: [], nodeIPs: [], podCIDRs: [] };
    expect((await apply(nothing))["spec"]).toEqual(nothing);
    const withdrawn = { publicKey: keys.zero, state: "withdrawn" };
    await apply({
      ...good,
      slots: [
        { ...slotA, ...withdrawn },
        { ...slotB, ...withdrawn },
      ],
    });
  });

  test("the status is the agent's view, shown as a row", async () => {
    const condition = {
      type: "NetworkEncrypted",
      status: "False",
      reason: "PeersInPlaintext",
      message: "n3 has no key",
    };
    const since = new Date(Date.now() - 3 * 3600_000).toISOString();
    const status = {
      ...{ mode: "permissive", encryptedPeers: 1, peers: 2, keyCreatedAt: since },
      conditions: [{ ...condition, lastTransitionTime: since }],
    };
    const { apiVersion, kind } = recordObject(node, {});
    const change = { apiVersion, kind, metadata: { name: "n1" }, status };
    await server.admin.apply(`${recordPath("n1")}/status`, change);
    const accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    const answer = await server.admin.send("GET", recordsPath, undefined, { accept });
    const { columnDefinitions, rows } = (await answer.json()) as {
      readonly columnDefinitions: readonly { readonly name: string }[];
      readonly rows: readonly { readonly cells: readonly unknown[] }[];
    };
    const row = columnDefinitions.map(({ name }, i) => [name, rows[0]?.cells[i]]);
    expect(Object.fromEntries(row)).toEqual({
      ...{ Name: "n1", State: "PeersInPlaintext", Mode: "permissive", Encrypted: 1, Peers: 2 },
      ...{ "Key Age": "3h", Endpoint: "192.0.2.1", Message: "n3 has no key" },
    });
    expect((await server.admin.get(recordPath("n1")))["spec"]).toEqual(good);
  });

  const bad: Record<string, [spec: object, says: string]> = {
    "a text as slots": [{ slots: "a" }, ".spec.slots: expected list, got"],
    "a short key": [{ slots: [{ ...slotA, publicKey: "AQEB" }] }, "slots[0].publicKey"],
    "a key of 33 bytes": [
      { slots: [{ ...slotA, publicKey: `${"AQEB".repeat(11)}` }] },
      "44 characters of base64",
    ],
    "a key whose last bits are lost": [
      { slots: [{ ...slotA, publicKey: keys.one.replace("E=", "F=") }] },
      "44 characters of base64, as `wg pubkey` prints",
    ],
    "a key of small order": [
      { slots: [{ ...slotA, publicKey: "4Ot6fDtBuK4WVuP68Z/EatoJjeucMrH9hmIFFl9JuAA=" }] },
      "no node's public key",
    ],
    "the key p - 1": [{ slots: [{ ...slotA, publicKey: littleEndian(p - 1n) }] }, "no node's public key"],
    "a key beyond the field": [
      { slots: [{ ...slotA, publicKey: littleEndian(2n ** 255n - 1n) }] },
      "no node's public key",
    ],
    "a key with the highest bit": [
      { slots: [{ ...slotA, publicKey: littleEndian(2n ** 255n + 12345n) }] },
      "no node's public key",
    ],
    "a short proof": [{ slots: [{ ...slotA, proof: "AAAA" }] }, "is not a proof of possession"],
    "one key in both slots": [
      { slots: [slotA, { ...slotB, publicKey: keys.one }] },
      "both slots have the same public key",
    ],
    "one slot twice": [{ slots: [slotA, { ...slotB, slot: "a" }] }, "a slot is there twice"],
    "a third slot": [{ slots: [{ ...slotA, slot: "c" }] }, 'slots[0].slot: Unsupported value: "c"'],
    "a slot without a port": [{ slots: [{ ...slotA, port: undefined }] }, "slots[0].port: Required value"],
    "port 0": [
      { slots: [{ ...slotA, port: 0 }] },
      "slots[0].port in body should be greater than or equal to 1",
    ],
    "port 65536": [{ slots: [{ ...slotA, port: 65536 }] }, "less than or equal to 65535"],
    "another state": [{ slots: [{ ...slotA, state: "gone" }] }, 'slots[0].state: Unsupported value: "gone"'],
    "a name as endpoint": [{ endpoints: ["n1.example.com"] }, "n1.example.com is not an IP address"],
    "a loopback endpoint": [
      { endpoints: ["127.0.0.1"] },
      "127.0.0.1 is an address that other nodes cannot reach",
    ],
    "an IPv6 address in capitals": [
      { nodeIPs: ["2001:DB8::1"] },
      "2001:DB8::1 is not written as addresses are",
    ],
    "an address as pod CIDR": [
      { podCIDRs: ["10.244.1.7"] },
      "10.244.1.7 is not a CIDR (expected ADDRESS/LENGTH)",
    ],
    "host bits": [{ podCIDRs: ["10.244.1.7/24"] }, "podCIDRs[0]: Invalid value: "],
    everything: [{ podCIDRs: ["0.0.0.0/0"] }, "0.0.0.0/0 is too wide for the pods of one node"],
    "65 endpoints": [{ endpoints: addresses(65) }, "endpoints: Too many: 65: must have at most 64 items"],
    "4097 pod CIDRs": [
      { podCIDRs: hostCidrs(4097) },
      "podCIDRs: Too many: 4097: must have at most 4096 items",
    ],
  };
  test.each(Object.entries(bad))("refuses %s", async (_, [spec, says]) => {
    await refused(apply({ ...good, ...spec }), says);
  });

  test("takes the largest record there may be", async () => {
    const spec = { ...good, endpoints: addresses(64), nodeIPs: addresses(64), podCIDRs: hostCidrs(4096) };
    expect((await apply(spec))["spec"].podCIDRs).toHaveLength(4096);
  });

  test("judges addresses as agents do", async () => {
    const candidates = [...addresses(2), ...oddAddresses];
    const places = await refusedPlaces("endpoints", candidates);
    for (const [i, text] of candidates.entries())
      expect([text, !places.has(i)]).toEqual([text, isCanonical(parseNodeAddress, text)]);
  });

  test("judges pod CIDRs as agents do", async () => {
    const candidates = [...hostCidrs(2), ...oddCidrs];
    const places = await refusedPlaces("podCIDRs", candidates);
    for (const [i, text] of candidates.entries())
      expect([text, !places.has(i)]).toEqual([text, isCanonical(parsePodCidr, text)]);
  });

  /** One request with all of them: the refusal names every place. */
  async function refusedPlaces(field: string, values: readonly string[]): Promise<Set<number>> {
    const { message } = await refused(apply({ [field]: values }));
    return new Set(
      [...message.matchAll(new RegExp(`${field}\\[(\\d+)\\]: Invalid`, "g"))].map(([, i]) => Number(i)),
    );
  }

  test("a field of a newer version is refused by name, and nothing is written", async () => {
    const before = await server.admin.get(recordPath("n1"));
    await refused(apply({ ...good, cipher: "aes" }), ".spec.cipher: field not declared in schema");
    await refused(
      apply({ ...good, slots: [{ ...slotA, weight: 1 }] }),
      "weight: field not declared in schema",
    );
    expect(await server.admin.get(recordPath("n1"))).toEqual(before);
  });

  test("by other ways than apply such a field is dropped", async () => {
    const { spec } = await server.admin.patch(recordPath("n1"), { spec: { cipher: "aes" } });
    expect(spec).toEqual(good);
  });

  test("an older agent writes to a newer resource, whose further field goes", async () => {
    const [newer] = readManifest("crd");
    if (newer === undefined) throw new Error("crd.yaml is empty");
    newer["spec"].versions[0].schema.openAPIV3Schema.properties.spec.properties.cipher = { type: "string" };
    await server.admin.apply(pathOf(newer), newer, { manager: "kubectl" });
    const write = () => apply({ ...good, cipher: "aes" }, false).catch((error: KubeRefusal) => error);
    let written = await write();
    while (written instanceof KubeRefusal && written.message.includes("not declared"))
      written = await write();
    expect(written).toMatchObject({ spec: { cipher: "aes" } });
    expect((await apply(good, false))["spec"]).toEqual(good);
  });
});

function addresses(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `192.0.2.${i + 1}`);
}

function hostCidrs(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `fd00:10:244:1::${(2 * i + 0x1000).toString(16)}/128`);
}

function isCanonical(parse: (text: string, path: string) => string, text: string): boolean {
  try {
    return parse(text, "") === text;
  } catch (error) {
    if (error instanceof ParseError) return false;
    throw error;
  }
}

const oddAddresses = [
  ...["", "x", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.256", " 192.0.2.1", "192.0.2.1/32", "192.0.2.1:80"],
  ...["0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.0.1", "169.254.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1"],
  ...["255.255.255.255", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "1.1.1.1", "223.255.255.255"],
  ...["::", "::1", "::2", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "ff02::1", "fd00::1", "FD00::1"],
  ...[
    "2001:db8:0:0::1",
    "2001:db8::",
    "::ffff:192.0.2.1",
    "::ffff:c000:201",
    "64:ff9b::192.0.2.1",
    "64:ff9b::1",
  ],
];

const oddCidrs = [
  ...[
    "",
    "x",
    "10.0.0.0",
    "10.0.0.0/",
    "10.0.0.0/33",
    "10.0.0.0/08",
    "10.0.0.0/-1",
    "10.0.0.1/24",
    "10.0/16",
  ],
  ...["0.0.0.0/0", "0.0.0.0/8", "0.1.0.0/16", "8.0.0.0/7", "10.0.0.0/8", "127.0.0.0/8", "127.1.0.0/16"],
  ...["169.0.0.0/8", "169.254.0.0/16", "169.254.1.0/24", "169.252.0.0/14", "168.0.0.0/8", "224.0.0.0/8"],
  ...["232.0.0.0/8", "240.0.0.0/8", "255.0.0.0/8", "255.255.255.255/32", "100.64.0.0/10", "192.0.2.1/32"],
  ...[
    "::/0",
    "::/8",
    "::/128",
    "::1/128",
    "fe80::/10",
    "fe80::/64",
    "fe00::/8",
    "fe00::/9",
    "ff00::/8",
    "fd00::/8",
  ],
  ...[
    "fc00::/7",
    "fd00::/64",
    "fd00::1/64",
    "fd00::1/128",
    "FD00::/64",
    "fd00:0::/64",
    "::ffff:10.0.0.0/104",
  ],
  ...["::ffff:0:0/96", "2001:db8::/32", "64:ff9b::/96"],
];
