// A release, made twice from clones in different directories: the bytes are the same, the Debian package installs,
// works and leaves a fresh Debian root as it was, and the image loads and runs for both architectures.
import { beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { describeUnless, whatIsMissing } from "../kernel/support/gate.ts";
import { prepareForContainers } from "../lab/container.ts";
import { limits, podman } from "../lab/image.ts";
import type { Node } from "../lab/node.ts";
import { repository } from "../lab/paths.ts";
import { withLab } from "../lab/with-lab.ts";

const { version } = JSON.parse(readFileSync(join(repository, "package.json"), "utf8")) as { version: string };
const needs = ["dpkg-deb", "apt-get", "mmdebstrap", "podman", "crun", "git", "wireguard-go"];
const releaseTimeoutMs = 600_000;
const rootTimeoutMs = 240_000;
/** Podman takes no image without one. */
const policy = { default: [{ type: "insecureAcceptAnything" }] };

function must(command: readonly string[], timeout = 60_000): string {
  const done = Bun.spawnSync([...command], { stdout: "pipe", stderr: "pipe", timeout });
  if (done.exitCode !== 0)
    throw new Error(`"${command.join(" ")}" ended with ${done.exitCode}: ${done.stderr}${done.stdout}`);
  return done.stdout.toString();
}

/** Makes a release in a clone of the repository. Returns the directory with its files. */
function release(clone: string): string {
  must(["git", "clone", "--quiet", repository, clone]);
  symlinkSync(join(repository, "node_modules"), join(clone, "node_modules"));
  must([join(clone, "scripts/release"), version], releaseTimeoutMs);
  return join(clone, "dist");
}

const describeRelease = (title: string, body: () => void) =>
  describeUnless(whatIsMissing(needs), {
    ...{ title, body, requiredBy: "REQUIRE_RELEASE", testTimeoutMs: releaseTimeoutMs },
  });

describeRelease("a release", () => {
  const lab = withLab("release");
  let node: Node;
  let dist: string;
  const path = (name: string) => join(dist, name);

  beforeAll(async () => {
    node = await lab.node("one", { ip4: "192.0.2.1", podCidrs: ["10.1.0.0/24"] });
    dist = release(join(lab.sharedDirectory, "first"));
  }, releaseTimeoutMs);

  test("has these files, with their sums", () => {
    const files = [
      `wg-cni-${version}-image.tar`,
      `wg-cni-${version}-linux-arm64.tar.gz`,
      `wg-cni-${version}-linux-x64.tar.gz`,
      `wg-cni-${version}.cdx.json`,
      `wg-cni-${version}.tgz`,
      `wg-cni_${version}_amd64.deb`,
      `wg-cni_${version}_arm64.deb`,
    ];
    expect(readdirSync(dist).sort()).toEqual(["SHA256SUMS", ...files].sort());
    must(["sh", "-euc", 'cd "$0" && sha256sum --strict --check SHA256SUMS', dist]);
    expect(readFileSync(path("SHA256SUMS"), "utf8").split("\n").length - 1).toBe(files.length);
  });

  test("is refused for another version than that of package.json", () => {
    const done = Bun.spawnSync([join(repository, "scripts/release"), "9.9.9"], { stderr: "pipe" });
    expect({ exitCode: done.exitCode, said: done.stderr.toString() }).toEqual({
      exitCode: 1,
      said: expect.stringContaining(`has the version ${version}, not 9.9.9`),
    });
  });

  test("is the same bytes if it is made again in another directory", () => {
    const again = release(join(lab.sharedDirectory, "the second"));
    expect(readFileSync(join(again, "SHA256SUMS"), "utf8")).toBe(readFileSync(path("SHA256SUMS"), "utf8"));
  });

  test("has archives with the executable of the build, the licences and files to copy", () => {
    const archive = path(`wg-cni-${version}-linux-x64.tar.gz`);
    const directory = join(lab.sharedDirectory, "unpacked");
    mkdirSync(directory);
    must(["tar", "-xzf", archive, "-C", directory, "--strip-components=1"]);
    const built = join(lab.sharedDirectory, "built");
    must([join(repository, "scripts/bun"), join(repository, "scripts/build.ts"), "--out", built]);
    expect(digest(join(directory, "wg-cni"))).toBe(digest(built));
    for (const name of ["LICENSE", "THIRD-PARTY", "conf/10-wg-cni.conflist", "conf/wg-cni-agent.service"])
      expect({ name, exists: existsSync(join(directory, name)) }).toEqual({ name, exists: true });
    expect(must(["sh", "-euc", 'bash -n "$0/completions/wg-cni.bash"', directory])).toBe("");
    const answer = must([
      ...["bash", "-euc"],
      'source "$0"; COMP_WORDS=(wg-cni peer im); COMP_CWORD=2; _wg_cni; echo "$COMPREPLY"',
      join(directory, "completions/wg-cni.bash"),
    ]);
    expect(answer).toBe("import\n");
  });

  test("has a chart of the version, whose values name the image of the version", () => {
    const read = (name: string) => must(["tar", "-xzOf", path(`wg-cni-${version}.tgz`), `wg-cni/${name}`]);
    expect(read("Chart.yaml")).toContain(`\nversion: ${version}\n`);
    expect(read("values.yaml")).toContain(`\nimage: wg-cni:${version}\n`);
    expect(read("templates/daemonset.yaml")).toContain("kind: DaemonSet");
  });

  describe("in podman", () => {
    const archive = () => `oci-archive:${path(`wg-cni-${version}-image.tar`)}`;
    const image = `localhost/wg-cni:${version}`;
    let call: (...args: string[]) => string;
    beforeAll(() => {
      prepareForContainers(node);
      // The lab hides the machine's.
      node.script([
        `mkdir -p /etc/containers; echo '${JSON.stringify(policy)}' >/etc/containers/policy.json`,
      ]);
      const storage = podman(join(lab.sharedDirectory, "podman"));
      const shell = ["sh", "-c", 'ulimit -n 4096; exec "$@"', "sh"];
      call = (...args) => node.must([...shell, ...storage, ...args], { timeoutMs: 120_000 });
      call("load", "--quiet", "--input", path(`wg-cni-${version}-image.tar`));
    }, 120_000);

    test("the image runs as the command line and as the plugin", () => {
      const run = ["run", "--rm", "--runtime", "crun", "--cgroups=disabled", "--network", "host", ...limits];
      expect(call(...run, image, "version")).toContain(version);
      expect(JSON.parse(call(...run, "--env", "CNI_COMMAND=VERSION", image))).toMatchObject({
        cniVersion: expect.stringMatching(/^1\./),
      });
    });

    test("the image for arm64 is there too, and its executable runs with its libraries", () => {
      call("rmi", "--all", "--force");
      call("pull", "--quiet", "--arch", "arm64", archive());
      expect(call("image", "inspect", "--format", "{{.Architecture}}", image).trim()).toBe("arm64");
      const files = join(lab.sharedDirectory, "arm64");
      mkdirSync(files);
      node.must([
        ...["sh", "-euc"],
        'root=$1; shift; id=$("$@" create --network host "$0"); "$@" export "$id" | tar -x -C "$root"; "$@" rm "$id"',
        ...[image, files, ...podman(join(lab.sharedDirectory, "podman"))],
      ]);
      const emulator = join(lab.sharedDirectory, "emulator");
      const host = must(["dpkg", "--print-architecture"]).trim();
      must([join(repository, "scripts/debian-package"), host, "qemu-user-static", emulator], rootTimeoutMs);
      const qemu = join(emulator, "usr/bin/qemu-aarch64-static");
      const command = ["env", "-i", "CNI_COMMAND=VERSION", "CNI_PATH=/", qemu, "-L", files];
      const configuration = JSON.stringify({ cniVersion: "1.1.0", name: "arm64", type: "wg-cni" });
      const answer = must(
        ["sh", "-euc", 'echo "$0" | "$@"', configuration, ...command, join(files, "wg-cni")],
        120_000,
      );
      expect(JSON.parse(answer)).toMatchObject({ cniVersion: "1.1.0" });
    });
  });

  describe("on a fresh Debian", () => {
    let root: string;
    /** Runs shell lines in the root, in the node's network. */
    const inRoot = (...lines: string[]) =>
      node.must(["chroot", root, "sh", "-euc", lines.join("\n")], { timeoutMs: rootTimeoutMs });
    const files = () =>
      inRoot(
        "find / -xdev -path /var/lib/dpkg -prune -o -path /var/log -prune -o -path /srv -prune -o -print | sort",
      );
    const links = () =>
      inRoot("ip -o link; ip rule; ip route show table all | grep -v 'table local' || true");
    const deb = `/srv/wg-cni_${version}_amd64.deb`;
    let before: { files: string; links: string };

    beforeAll(() => {
      root = join(lab.sharedDirectory, "debian");
      const packages = "--include=iproute2,nftables,wireguard-go,systemd";
      must(["mmdebstrap", "--quiet", "--variant=minbase", packages, "bookworm", root], rootTimeoutMs);
      node.script([
        `mount --bind ${root} ${root}`,
        `mount -t proc proc ${root}/proc`,
        `mount -t sysfs sysfs ${root}/sys`,
        `mount --rbind /dev ${root}/dev`,
        `mount -t tmpfs tmpfs ${root}/run`,
        `cp ${path(`wg-cni_${version}_amd64.deb`)} ${root}/srv/`,
      ]);
      before = { files: files(), links: links() };
    }, rootTimeoutMs);

    test("the package installs the command, and starts nothing", () => {
      inRoot(`dpkg -i ${deb}`);
      expect(inRoot("wg-cni version")).toContain(version);
      expect(inRoot("dpkg -V wg-cni")).toBe("");
      expect(inRoot("systemctl is-enabled wg-cni-agent || true").trim()).toBe("disabled");
      expect(links()).toBe(before.links);
    });

    test("the node has a mesh and a network after `up` and `install`", () => {
      inRoot("mkdir -p /etc/cni/net.d");
      inRoot(
        "wg-cni up --node one --endpoint 192.0.2.1 --pod-cidr 10.1.0.0/24",
        "wg-cni install --standalone",
      );
      expect(links()).toContain("wg-cni-a");
      expect(inRoot("ls /etc/cni/net.d")).not.toBe("");
      inRoot("systemctl enable wg-cni-agent");
    });

    test("an upgrade leaves the mesh as it is", () => {
      const mesh = links();
      inRoot(`dpkg -i ${deb}`);
      expect(links()).toBe(mesh);
      expect(inRoot("systemctl is-enabled wg-cni-agent").trim()).toBe("enabled");
    });

    test("removal leaves the node as it was, but for the state", () => {
      inRoot("dpkg -r wg-cni");
      expect(links()).toBe(before.links);
      expect(inRoot("ls -A /etc/cni/net.d")).toBe("");

      expect(existsSync(join(root, "opt/cni/bin/wg-cni"))).toBe(false);
      expect(existsSync(join(root, "var/lib/wg-cni/state.db"))).toBe(true);
    });

    test("purging removes the state, too: no file is left or missing", () => {
      inRoot("dpkg -P wg-cni", "rmdir /etc/cni/net.d /etc/cni");
      expect(files()).toBe(before.files);
    });

    test("a package that was never used is removed as well", () => {
      inRoot(`dpkg -i ${deb}`, "wg-cni status >/dev/null || true", "dpkg -P wg-cni");
      expect(files()).toBe(before.files);
    });
  });
});

function digest(file: string): string {
  return createHash("sha256").update(readFileSync(file)).digest("hex");
}
