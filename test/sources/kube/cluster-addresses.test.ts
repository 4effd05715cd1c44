// The addresses of the API server, as far as a node is told of them.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { apiServerIPs } from "../../../src/sources/kube/cluster-addresses.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(`${tmpdir()}/kube-address-`);
});
afterAll(() => rmSync(directory, { recursive: true }));

test.each([
  ["YAML", "clusters:\n- cluster:\n    server: https://192.0.2.1:6443\n  name: a\n", ["192.0.2.1"]],
  ["quoted, IPv6", 'server: "https://[2001:DB8::1]:6443/"', ["2001:db8::1"]],
  [
    "JSON",
    '{"clusters":[{"cluster":{"server":"https://192.0.2.1"}},{"cluster":{"server":"https://192.0.2.1:1"}}]}',
    ["192.0.2.1"],
  ],
  ["a name", "server: https://api.example.com:6443", []],
  ["nothing", "", []],
])("of a kubeconfig: %s", (name, text, ips) => {
  writeFileSync(`${directory}/config`, text);
  expect([name, apiServerIPs(`${directory}/config`, {})]).toEqual([name, ips]);
});

test("in a pod, of the service; and none if it is not configured", () => {
  const env = { KUBERNETES_SERVICE_HOST: "10.96.0.1" };
  expect(apiServerIPs("in-cluster", env)).toEqual(["10.96.0.1"]);
  expect(apiServerIPs("in-cluster", {})).toEqual([]);
  expect(apiServerIPs("", env)).toEqual([]);
  expect(apiServerIPs(`${directory}/absent`, env)).toEqual([]);
});
