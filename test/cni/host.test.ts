// The plugin server keeps what was read of the node's intent, until its generation is another one.
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Connections, Host } from "../../src/cni/host.ts";

test("settings and identity are read again only after they have changed", () => {
  const directory = mkdtempSync(join(tmpdir(), "wg-cni-host-"));
  try {
    using connections = new Connections(directory);
    const call = () => new Host(connections);
    const first = call().intent;
    expect(first.settings.mode).toBe("permissive");
    expect(first.identity).toBeUndefined();
    const { store } = connections;
    store.putAttachment({
      ...{ network: "n", containerID: "c", ifname: "eth0", netns: "/n", role: "chained", ips: [] },
      ...{ restore: {}, createdAtMs: 0 },
    });
    expect(call().intent).toBe(first);
    const begun = call();
    expect(begun.settings.mode).toBe("permissive");
    store.putSetting("mode", "strict");
    expect(begun.settings.mode).toBe("permissive");
    expect(call().settings.mode).toBe("strict");
  } finally {
    rmSync(directory, { recursive: true });
  }
});
