// Acts as scheduler and kubelet for a DaemonSet's pods, as far as the API shows it: each
// is bound to the node that it was made for, becomes ready, and is gone when it was
// deleted. Nothing runs.
import { type KubeClient, type KubeObject, KubeRefusal } from "./kube-client.ts";
import { namespace } from "./nodes.ts";

const podsPath = `/api/v1/namespaces/${namespace}/pods`;
const selector = new URLSearchParams({ labelSelector: "app.kubernetes.io/name=wg-cni" });
const everyMs = 100;

export async function agentPods(admin: KubeClient): Promise<readonly KubeObject[]> {
  return (await admin.get(`${podsPath}?${selector}`))["items"];
}

/** The node that the DaemonSet made it for. */
export function nodeOf({ spec }: KubeObject): string {
  const [term] = spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms;
  return term.matchFields[0].values[0];
}

/** Until it is disposed of, which throws what went wrong meanwhile. */
export function livePods(admin: KubeClient): AsyncDisposable {
  const ended = new AbortController();
  const living = live(admin, ended.signal);
  // The caller that disposes of it gets the error.
  living.catch(() => {});
  return {
    async [Symbol.asyncDispose]() {
      ended.abort();
      await living;
    },
  };
}

async function live(admin: KubeClient, signal: AbortSignal): Promise<void> {
  for (; !signal.aborted; await Bun.sleep(everyMs))
    for (const pod of await agentPods(admin)) await step(admin, pod).catch(passOver);
}

/** The controller has changed or removed the pod meanwhile: it is looked at again. */
function passOver(error: unknown): void {
  if (!(error instanceof KubeRefusal) || (error.status !== 404 && error.status !== 409)) throw error;
}

async function step(admin: KubeClient, pod: KubeObject): Promise<void> {
  const { name } = pod.metadata;
  const path = `${podsPath}/${name}`;
  if (pod.metadata["deletionTimestamp"] !== undefined) {
    await admin.remove(`${path}?gracePeriodSeconds=0`);
  } else if (pod["spec"].nodeName === undefined) {
    const target = { apiVersion: "v1", kind: "Node", name: nodeOf(pod) };
    await admin.create(`${path}/binding`, {
      ...{ apiVersion: "v1", kind: "Binding", metadata: { name } },
      target,
    });
  } else if (pod["status"].phase !== "Running") {
    const now = new Date().toISOString();
    const conditions = [{ type: "Ready", status: "True", lastTransitionTime: now }];
    await admin.patch(`${path}/status`, { status: { phase: "Running", conditions } });
  }
}
