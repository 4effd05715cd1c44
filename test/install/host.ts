// A host for installers: a directory of plugins and one of networks, real files in
// a temporary place; and the networks that CNIs write, as they write them.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Disk, disk as realDisk } from "../../src/install/disk.ts";
import {
  ensureConfList,
  type Installed,
  install,
  type Removed,
  uninstall,
} from "../../src/install/install.ts";
import type { Entry } from "../../src/plan/settings/entry.ts";

/** In memory: an owner that flushes nothing is not to be faster than we are because a disk is slow. */
const place = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

interface Fixture {
  readonly source: string;
  readonly conflist: { readonly plugins: readonly { readonly type: string }[] };
}

export interface Sample {
  readonly cni: string;
  readonly file: string;
  readonly text: string;
  readonly types: readonly string[];
}

/** Of every fixture the conflist, in the ways that templates and programs lay JSON out. */
export const samples: readonly Sample[] = [
  ["aws", "10-aws.conflist", 2],
  ["azure", "10-azure.conflist", 3],
  ["calico", "10-calico.conflist", 2],
  ["flannel", "10-flannel.conflist", 2],
  ["gke", "10-gke-ptp.conflist", 0],
  ["gke-dataplane-v2", "05-cilium.conflist", 2],
  ["k3s", "10-flannel.conflist", "\t"],
  ["kindnet", "10-kindnet.conflist", 0],
].map(([cni, file, indent]) => {
  const fixture = join(import.meta.dir, `../cni/fixtures/${cni}.json`);
  const { conflist } = JSON.parse(readFileSync(fixture, "utf8")) as Fixture;
  const text = JSON.stringify(conflist, null, indent as number | string);
  const types = conflist.plugins.map(({ type }) => type);
  return { cni: cni as string, file: file as string, text: indent === 0 ? text : `${text}\n`, types };
});

/** A minimal chain of one plugin. */
export const ptpList = `{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [
    {
      "type": "ptp",
      "ipam": { "type": "host-local", "subnet": "10.1.0.0/24" }
    }
  ]
}
`;

/** The same as a single plugin. */
export const ptpConf = `{
  "cniVersion": "0.3.1",
  "name": "pods",
  "type": "ptp",
  "ipam": { "type": "host-local", "subnet": "10.1.0.0/24" }
}
`;

export class Host implements Disposable {
  readonly root = mkdtempSync(join(place, "wg-cni-install-"));
  readonly binDir = join(this.root, "bin");
  readonly confDir = join(this.root, "net.d");
  /** The file that is installed as the plugin. */
  readonly source = join(this.root, "wg-cni-new");
  readonly plugin = join(this.binDir, "wg-cni");
  readonly said: string[] = [];

  constructor(readonly disk: Disk = realDisk) {
    mkdirSync(this.binDir);
    mkdirSync(this.confDir);
    this.release("v1");
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true, force: true });
  }

  /** Another version of the executable to install. */
  release(version: string): void {
    writeFileSync(this.source, `#!/bin/sh\necho ${version}\n`, { mode: 0o755 });
  }

  plugins(...types: readonly string[]): void {
    for (const type of types) writeFileSync(join(this.binDir, type), "", { mode: 0o755 });
  }

  path(file: string): string {
    return join(this.confDir, file);
  }

  put(file: string, text: string | Uint8Array, mode = 0o644): void {
    writeFileSync(this.path(file), text, { mode });
  }

  /** Of one sample everything that its CNI has put on the host. */
  prepare({ file, text, types }: Sample): void {
    this.plugins(...types);
    this.put(file, text);
  }

  get(file: string): string {
    return readFileSync(this.path(file), "utf8");
  }

  types(file: string): string[] {
    return (JSON.parse(this.get(file)) as Fixture["conflist"]).plugins.map(({ type }) => type);
  }

  /** Returns the identity and the time of each file by name: they are the same if no process wrote. */
  stamps(): Record<string, string> {
    return Object.fromEntries(
      [this.confDir, this.binDir].flatMap((directory) =>
        readdirSync(directory).map((name) => {
          const { ino, mtimeNs, ctimeNs, mode, uid } = statSync(join(directory, name), { bigint: true });
          return [name, `${ino} ${mtimeNs} ${ctimeNs} ${mode.toString(8)} ${uid}`];
        }),
      ),
    );
  }

  /** Every file of the directory of networks. */
  texts(): Record<string, string> {
    return Object.fromEntries(
      readdirSync(this.confDir)
        .sort()
        .map((name) => [name, readFileSync(join(this.confDir, name), "latin1")]),
    );
  }

  install(entry?: Entry, waitMs = 0, disk = this.disk): Promise<Installed> {
    return install({
      ...{ disk, source: this.source, waitMs, target: this.target(entry) },
      say: (sentence) => this.said.push(sentence),
    });
  }

  assert(entry?: Entry, disk = this.disk) {
    return ensureConfList(disk, this.target(entry));
  }

  uninstall(keepBinary = false, disk = this.disk): Removed {
    return uninstall(disk, this.target(), keepBinary);
  }

  target(entry?: Entry) {
    const { binDir, confDir } = this;
    return { binDir, confDir, ...(entry === undefined ? {} : { entry }) };
  }
}
