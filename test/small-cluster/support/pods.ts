// Pods of the small cluster: made by the API, run by the nodes. Each is a web server
// that says who it is and whom it sees, and a place to send from.

import type { KubeObject } from "../../cluster/support/kube-client.ts";
import { Pod } from "../../lab/pod.ts";
import { waitUntil } from "../../lab/wait.ts";
import { imageName } from "../../runtime/support/image.ts";
import { type SmallCluster, soonMs } from "./cluster.ts";
import type { Machine } from "./machine.ts";

export const podsPath = "/api/v1/namespaces/default/pods";
/** Of pods, and of pods that are in their node's network. */
export const webPort = 8080;
export const hostWebPort = 8081;

/** "who?ask-TEXT" is answered with "answer-TEXT NAME PEER": so an eavesdropper tells a question from its answer. */
const page = "/cgi-bin/who";
const script = String.raw`#!/bin/sh
answer=$(echo "$QUERY_STRING" | busybox sed s/^ask/answer/)
printf 'Content-Type: text/plain\r\n\r\n%s %s %s\n' "$answer" "$NAME" "$REMOTE_ADDR"`;

export interface WebPodOptions {
  /** The node; where the scheduler puts it when absent. */
  readonly node?: string;
  readonly hostNetwork?: boolean;
  readonly hostPort?: number;
}

export function webPod(name: string, { node, hostNetwork = false, hostPort }: WebPodOptions = {}): object {
  const port = hostNetwork ? hostWebPort : webPort;
  const serve = [
    "busybox mkdir -p /tmp/www/cgi-bin; cd /tmp/www",
    `printf '%s\\n' "$SCRIPT" >.${page}; busybox chmod 755 .${page}`,
    `echo serving; exec busybox httpd -f -p ${port} -h /tmp/www`,
  ];
  return {
    ...{ apiVersion: "v1", kind: "Pod", metadata: { name, labels: { app: name } } },
    spec: {
      hostNetwork,
      enableServiceLinks: false,
      terminationGracePeriodSeconds: 1,
      ...(node === undefined ? {} : { nodeSelector: { "kubernetes.io/hostname": node } }),
      containers: [
        {
          ...{ name: "web", image: imageName, imagePullPolicy: "Never" },
          command: ["sh", "-c", serve.join("\n")],
          env: [
            { name: "NAME", value: name },
            { name: "SCRIPT", value: script },
          ],
          ports: ["TCP", "UDP"].map((protocol) => ({
            ...{ protocol, containerPort: port },
            ...(hostPort === undefined ? {} : { hostPort }),
          })),
          readinessProbe: { httpGet: { path: page, port }, periodSeconds: 1 },
        },
      ],
    },
  };
}

/** The request that has `text` in it, and in whose answer it is. */
export function question(text: string): string {
  return `${page}?ask-${text}`;
}

/** Resolves when it is ready. */
export async function podReady(cluster: SmallCluster, name: string): Promise<KubeObject> {
  let pod: KubeObject | undefined;
  const look = async () => {
    pod = await cluster.server.admin.get(`${podsPath}/${name}`);
    const conditions: readonly { type: string; status: string }[] = pod["status"].conditions ?? [];
    return conditions.some(({ type, status }) => type === "Ready" && status === "True");
  };
  await waitUntil(look, {
    what: () => `pod ${name} is ready: ${JSON.stringify(pod?.["status"])}`,
    ...{ timeoutMs: soonMs, everyMs: 100 },
  });
  return pod as KubeObject;
}

/** A place to send from and to: the pod's network namespace, which the runtime has named. Undefined when it is not there. */
export function enterPod({ node }: Machine, { metadata, status }: KubeObject): Pod | undefined {
  const ip: string = status["podIP"];
  const look = `for netns in /run/netns/*; do
    if nsenter --net=$netns ip -o -4 address show dev eth0 2>/dev/null | grep -q " ${ip}/"; then echo $netns; fi
  done`;
  const netns = node.must(["sh", "-c", look]).trim();
  return netns === "" ? undefined : Pod.adopt(node, metadata.name, netns, { 4: ip });
}
