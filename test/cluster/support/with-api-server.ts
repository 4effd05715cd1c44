// The API server of a describe block, without a line of set-up in each test file.
import { beforeAll } from "bun:test";
import type { Lab } from "../../lab/lab.ts";
import { ApiServer } from "./api-server.ts";
import { applyManifests, type Manifest, policiesObeyed } from "./manifests.ts";

/** For a hook that starts a control plane, or agents after it, on a busy machine. */
export const startTimeoutMs = 240_000;

/**
 * Returns an API server in a lab of `withLab()`. It is started before the hooks that the block
 * registers later, has the manifests, obeys their policies, and ends with the lab.
 */
export function withApiServer(lab: Lab, manifests: readonly Manifest[] = []): ApiServer {
  const server = new ApiServer(lab);
  beforeAll(async () => {
    await server.start();
    await applyManifests(server.admin, manifests);
    if (manifests.includes("policy")) await policiesObeyed(server);
  }, startTimeoutMs);
  return server;
}
