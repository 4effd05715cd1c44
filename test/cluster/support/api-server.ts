// A real API server with its etcd. It runs in a lab's namespace of the wire, where the
// lab's nodes reach it, and ends with the lab; the test process reaches it
// through a relay. Controllers run where a test starts them: the one that collects
// what has lost its owner, the one that checks policies' types, and the one that makes
// the pods of DaemonSets. No others: nothing evicts pods or taints nodes.
//
//   test process ── 127.0.0.1 ── relay ─┐
//                        n1, n2 ── br0 ─┴─ kube-apiserver ── etcd (in memory)

import { writeFileSync } from "node:fs";
import { findKubeAssets } from "../../../scripts/kube-assets.ts";
import { gateways, type Lab } from "../../lab/lab.ts";
import { Namespaces } from "../../lab/namespaces.ts";
import { Service } from "../../lab/service.ts";
import { waitUntil } from "../../lab/wait.ts";
import { KubeClient } from "./kube-client.ts";
import { makeKubeconfig } from "./kubeconfig.ts";
import { exchangeAuthority, makePki, type Pki } from "./pki.ts";

export const port = 6443;
const etcdUrl = "http://127.0.0.1:2379";

/** The parts of an API server that was started. */
interface Started {
  readonly etcd: Service;
  readonly server: Service;
  readonly controllers: Service;
  readonly admin: KubeClient;
  readonly pki: Pki;
}

export class ApiServer {
  #started: Started | undefined;

  /** Nothing runs until it is started. The lab has one at most; `flags` are further ones of the server. */
  constructor(
    readonly lab: Lab,
    private readonly flags: readonly string[] = [],
  ) {}

  /** Returns an API server that is started. It ends with the lab. */
  static async create(lab: Lab, flags: readonly string[] = []): Promise<ApiServer> {
    const server = new ApiServer(lab, flags);
    await server.start();
    return server;
  }

  async start(): Promise<void> {
    const { lab } = this;
    const pki = makePki(`${lab.sharedDirectory}/kube`, serverNames);
    const admin = new KubeClient(`https://127.0.0.1:${await openRelay(lab)}`, { ca: pki.ca, ...pki.admin });
    const services = makeServices(lab, pki, admin, this.flags);
    await services.etcd.start();
    await services.server.start();
    this.#started = { ...services, admin, pki };
  }

  get etcd(): Service {
    return this.#state.etcd;
  }

  /** kube-apiserver itself. */
  get server(): Service {
    return this.#state.server;
  }

  /** kube-controller-manager. It knows the resources that were there when it started. */
  get controllers(): Service {
    return this.#state.controllers;
  }

  /** May do everything. */
  get admin(): KubeClient {
    return this.#state.admin;
  }

  get pki(): Pki {
    return this.#state.pki;
  }

  get #state(): Started {
    if (this.#started === undefined) throw new Error(`The API server of ${this.lab.name} was not started`);
    return this.#started;
  }

  /** As the lab's nodes reach it; `admin.url` is for the test process. */
  get nodeUrl(): string {
    return `https://${gateways[4]}:${port}`;
  }

  /** Somebody with a token and no certificate. */
  client(token: string): KubeClient {
    return new KubeClient(this.admin.url, { ca: this.admin.credentials.ca, token });
  }

  /**
   * The server is started with a certificate of another authority: who knows only the old one does not
   * believe it any more. The administrator does, and those who are given an account from now on.
   */
  async exchangeAuthority(): Promise<void> {
    await this.server.kill();
    this.admin.credentials = { ...this.admin.credentials, ca: exchangeAuthority(this.pki) };
    await this.server.start();
  }
}

const serverNames = [
  // The last one is the first of the services' addresses: "kubernetes", where a proxy serves it.
  ...["127.0.0.1", gateways[4], gateways[6], "10.96.0.1"].map((ip) => `IP:${ip}`),
  "DNS:kubernetes.default.svc",
];

/** Returns its port. It has the lab's processes, to end with them, and not its network. */
async function openRelay(lab: Lab): Promise<number> {
  const door = new Namespaces(
    `${lab.name}/relay`,
    lab.wire.enter.filter((option) => option !== "-n"),
  );
  let ours: string | undefined;
  const note = (line: string) => {
    ours ??= /listening on (\d+)\./.exec(line)?.[1];
  };
  // The lab's first process is in the namespace of the wire.
  const command = [process.execPath, "--smol", `${import.meta.dir}/relay.ts`, "/proc/1/ns/net", `${port}`];
  door.start(command, { onStderrLine: note });
  return Number(await waitUntil(() => ours, { what: "the relay into the lab" }));
}

function makeServices(lab: Lab, pki: Pki, admin: KubeClient, flags: readonly string[]) {
  const assets = findKubeAssets();
  if (assets === undefined) throw new Error("there is no kube-apiserver: run scripts/kube-assets");
  const said = (text: string) => (log: readonly string[]) => log.some((line) => line.includes(text));
  const isServing = () =>
    admin.send("GET", "/readyz").then(
      ({ ok }) => ok,
      () => false,
    );
  const serve = [assets["kube-apiserver"], ...serverFlags(pki), ...flags];
  const control = [assets["kube-controller-manager"], ...controllerFlags(pki)];
  return {
    etcd: new Service(lab.wire, [assets.etcd, ...etcdFlags], said("ready to serve client requests")),
    server: new Service(lab.wire, serve, isServing),
    controllers: new Service(lab.wire, control, said("all resource monitors have synced")),
  };
}

const etcdFlags = [
  "--data-dir=/run/etcd",
  `--listen-client-urls=${etcdUrl}`,
  `--advertise-client-urls=${etcdUrl}`,
  "--listen-peer-urls=http://127.0.0.1:2380",
  // It is in memory: there is no disk to wait for.
  "--unsafe-no-fsync",
];

function serverFlags({ directory }: Pki): string[] {
  return [
    `--etcd-servers=${etcdUrl}`,
    `--secure-port=${port}`,
    `--advertise-address=${gateways[4]}`,
    "--endpoint-reconciler-type=none",
    `--tls-cert-file=${directory}/server.crt`,
    `--tls-private-key-file=${directory}/server.key`,
    `--client-ca-file=${directory}/ca.crt`,
    "--service-account-issuer=https://kubernetes.default.svc",
    `--service-account-key-file=${directory}/tokens.pub`,
    `--service-account-signing-key-file=${directory}/tokens.key`,
    "--service-cluster-ip-range=10.96.0.0/16",
    "--authorization-mode=Node,RBAC",
    "--enable-admission-plugins=NodeRestriction",
    "--allow-privileged=true",
  ];
}

function controllerFlags({ directory }: Pki): string[] {
  const cluster = { server: `https://127.0.0.1:${port}`, "certificate-authority": `${directory}/ca.crt` };
  const user = { "client-certificate": `${directory}/admin.crt`, "client-key": `${directory}/admin.key` };
  const file = `${directory}/controllers.json`;
  writeFileSync(file, makeKubeconfig(cluster, user));
  const controllers = [
    "garbage-collector-controller",
    "validatingadmissionpolicy-status-controller",
    "daemonset-controller",
  ];
  return [`--kubeconfig=${file}`, `--controllers=${controllers}`, "--leader-elect=false"];
}
