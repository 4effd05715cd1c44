// Certificates of a cluster: one authority, the server's certificate, the
// administrator's, and the keys that service account tokens are signed with.
// Made by openssl(1), which every machine with TLS has.
import { mkdirSync, readFileSync } from "node:fs";

export interface Pki {
  /** Has ca.crt, server.{crt,key}, admin.{crt,key}, tokens.{key,pub}. */
  readonly folder: string;
  /** Texts in PEM. */
  readonly ca: string;
  readonly admin: { readonly cert: string; readonly key: string };
}

const makeKey = "openssl ecparam -name prime256v1 -genkey -noout -out";

/** `names` are what the server is reached by: "IP:192.0.2.1", "DNS:kubernetes". Throws Error. */
export function makePki(folder: string, names: readonly string[]): Pki {
  mkdirSync(folder, { recursive: true });
  const lines = [
    `${makeKey} ca.key`,
    "openssl req -x509 -new -key ca.key -subj /CN=lab -days 2 -out ca.crt",
    ...issue("server", "/CN=kube-apiserver", [`subjectAltName=${names}`, "extendedKeyUsage=serverAuth"]),
    ...issue("admin", "/O=system:masters/CN=admin", ["extendedKeyUsage=clientAuth"]),
    `${makeKey} tokens.key`,
    "openssl ec -in tokens.key -pubout -out tokens.pub",
  ];
  const done = Bun.spawnSync(["sh", "-euc", lines.join("\n")], { cwd: folder, stderr: "pipe" });
  if (done.exitCode !== 0) throw new Error(`Cannot make certificates in ${folder}: ${done.stderr}`);
  const read = (name: string) => readFileSync(`${folder}/${name}`, "utf8");
  return { folder, ca: read("ca.crt"), admin: { cert: read("admin.crt"), key: read("admin.key") } };
}

function issue(name: string, subject: string, extensions: readonly string[]): string[] {
  return [
    `${makeKey} ${name}.key`,
    `openssl req -new -key ${name}.key -subj ${subject} -out ${name}.csr`,
    `printf '%s\\n' ${extensions.join(" ")} >${name}.ext`,
    `openssl x509 -req -in ${name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile ${name}.ext -out ${name}.crt`,
  ];
}
