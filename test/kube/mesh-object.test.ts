// The mesh object, as anybody may have written it.
import { expect, test } from "bun:test";
import { formatMesh, readMesh } from "../../src/kube/mesh-object.ts";

const metadata = { name: "default", resourceVersion: "7" };
const read = (spec: unknown) => readMesh({ metadata, spec });
const head = { ...metadata, warnings: [] };

test.each([
  [{ mode: "strict" }, { ...head, mode: "strict" }],
  [
    { mode: "off", clusterCIDRs: ["10.0.0.0/8"] },
    { ...head, mode: "off", clusterCIDRs: ["10.0.0.0/8"] },
  ],
  [
    { mode: "permissive", clusterCIDRs: [], more: 1 },
    { ...head, mode: "permissive", clusterCIDRs: [] },
  ],
  [
    { mode: "paranoid", clusterCIDRs: ["10.0.0/8"] },
    {
      ...metadata,
      warnings: [
        'mode: "paranoid" must be off, permissive or strict; it stays as it was',
        expect.stringMatching(/^clusterCIDRs: .*; it stays as it was$/),
      ],
    },
  ],
] as const)("%j", (spec, expected) => {
  expect(read(spec)).toEqual(expected as never);
});

test.each([undefined, null, "strict", {}])("spec %j says no mode", (spec) => {
  expect(read(spec)).toEqual({
    ...metadata,
    warnings: ["mode: undefined must be off, permissive or strict; it stays as it was"],
  });
});

test("what has no name is none", () => {
  for (const json of [undefined, null, {}, { metadata: {} }]) expect(readMesh(json)).toBeUndefined();
});

test("what is applied sets the mode and nothing else", () => {
  expect(readMesh(formatMesh("strict"))).toMatchObject({ name: "default", mode: "strict", warnings: [] });
  expect(formatMesh("off").spec).toEqual({ mode: "off" });
});
