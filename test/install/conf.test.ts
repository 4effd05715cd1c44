// The sample networks of cloud CNIs in conf/ are what `wg-cni install` makes of
// the network that the CNI writes, to the byte.
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Host } from "./host.ts";

const conf = join(import.meta.dir, "../../conf");

test.each([
  ["aws", "10-aws.conflist"],
  ["azure", "10-azure.conflist"],
  ["gke", "10-gke-ptp.conflist"],
  ["k3s", "10-flannel.conflist"],
])("of %s: %s", async (cni, file) => {
  using host = new Host();
  const fixture = join(import.meta.dir, `../cni/fixtures/${cni}.json`);
  const { conflist } = JSON.parse(readFileSync(fixture, "utf8"));
  const types = conflist.plugins.map(({ type }: { readonly type: string }) => type);
  host.prepare({ cni, file, types, text: `${JSON.stringify(conflist, null, 2)}\n` });
  await host.install();
  expect(host.types(file)).toEqual([...types, "wg-cni"]);
  if (process.env["UPDATE_GOLDEN"] === "1") await Bun.write(join(conf, file), host.get(file));
  expect(readFileSync(join(conf, file), "utf8")).toBe(host.get(file));
});
