// podman on a lab node, with CNI as its network backend: its networks are the
// .conflist files of the node. It is no daemon; of a container, conmon stays.

import { binDir, confDir, type Enclosure } from "./enclosure.ts";
import { imageName } from "./image.ts";

/**
 * Debian's runtime for podman raises a limit before it loads its filter of devices,
 * which a machine may withhold from its root; runc does not. The number of processes
 * and of files is left alone for that reason too.
 */
const containersConf = `[containers]
pids_limit = 0
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "cni"
network_config_dir = "${confDir}"
cni_plugin_dirs = ["${binDir}"]
`;

const storageConf = `[storage]
driver = "overlay"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
`;

const policy = { default: [{ type: "insecureAcceptAnything" }] };

export interface Container {
  readonly id: string;
  readonly ip: string;
  readonly mac: string;
  /** As the node knows it. */
  readonly conmonPid: number;
}

export class Podman {
  private constructor(readonly enclosure: Enclosure) {}

  /** Resolves when it has the image, of which `archive` is the file. */
  static async create(enclosure: Enclosure, archive: string): Promise<Podman> {
    enclosure.write("/etc/containers/containers.conf", containersConf);
    enclosure.write("/etc/containers/storage.conf", storageConf);
    enclosure.write("/etc/containers/policy.json", JSON.stringify(policy));
    const podman = new Podman(enclosure);
    await podman.call("load", "--quiet", "--input", archive);
    return podman;
  }

  /** Returns its output. Throws if it fails. */
  async call(...args: readonly string[]): Promise<string> {
    return (await this.enclosure.mustRun(["podman", ...args])).trim();
  }

  /** A running container of the image in a network. It may ping, which podman does not let unless told. */
  async run(network: string, options: readonly string[] = []): Promise<Container> {
    const id = (await this.enclosure.mustRun(this.runCommand(network, options))).trim();
    const [{ State, NetworkSettings }] = JSON.parse(await this.call("inspect", id));
    const { IPAddress, MacAddress } = NetworkSettings.Networks[network];
    return { id, ip: IPAddress, mac: MacAddress, conmonPid: State.ConmonPid };
  }

  runCommand(network: string, options: readonly string[] = []): string[] {
    const common = ["--detach", "--cap-add", "NET_RAW", "--network", network];
    return ["podman", "run", ...common, ...options, imageName];
  }

  /** Returns the output of the command in the container, also if it fails. */
  exec({ id }: Container, ...command: readonly string[]): Promise<string> {
    return this.call("exec", id, ...command).catch(({ message }: Error) => message);
  }

  remove({ id }: Container): Promise<string> {
    return this.call("rm", "--force", "--time", "0", id);
  }
}
