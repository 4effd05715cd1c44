// Kubeconfig files for a test's API server, as JSON, which is YAML.
import type { ApiServer } from "./api-server.ts";

/** `cluster` and `user` are those objects of a kubeconfig. */
export function makeKubeconfig(cluster: object, user: object): string {
  const name = "lab";
  return JSON.stringify({
    ...{ apiVersion: "v1", kind: "Config", "current-context": name },
    clusters: [{ name, cluster }],
    users: [{ name, user }],
    contexts: [{ name, context: { cluster: name, user: name } }],
  });
}

/** An administrator's. `server` is where the API is for whoever reads it; the test's side of the relay unless told. */
export function adminKubeconfig({ admin: { url, credentials } }: ApiServer, server = url): string {
  const base64 = (text = "") => Buffer.from(text).toString("base64");
  return makeKubeconfig(
    { server, "certificate-authority-data": base64(credentials.ca) },
    {
      "client-certificate-data": base64(credentials.cert),
      "client-key-data": base64(credentials.key),
    },
  );
}
