// Certificates of a cluster: one authority, the server's certificate, the
// administrator's, and the keys that service account tokens are signed with.
// Made by openssl(1), which every machine with TLS has.
import { sign } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";

export interface Pki {
  /** Has ca.crt, server.{crt,key}, admin.{crt,key}, tokens.{key,pub}. */
  readonly directory: string;
  /** Subject alternative names of the server. */
  readonly names: readonly string[];
  /** Texts in PEM. */
  readonly ca: string;
  readonly admin: { readonly cert: string; readonly key: string };
}

const makeKey = "openssl ecparam -name prime256v1 -genkey -noout -out";

/** `names` are what the server is reached by: "IP:192.0.2.1", "DNS:kubernetes". Throws Error. */
export function makePki(directory: string, names: readonly string[]): Pki {
  mkdirSync(directory, { recursive: true });
  run(directory, [
    ...makeAuthority("lab"),
    ...issueServer(names),
    ...issue("admin", "/O=system:masters/CN=admin", ["extendedKeyUsage=clientAuth"]),
    `${makeKey} tokens.key`,
    "openssl ec -in tokens.key -pubout -out tokens.pub",
  ]);
  const read = (name: string) => readFileSync(`${directory}/${name}`, "utf8");
  return { directory, names, ca: read("ca.crt"), admin: { cert: read("admin.crt"), key: read("admin.key") } };
}

/** A certificate of somebody who asks the server, NAME.{crt,key}; `subject` as "/O=system:nodes/CN=system:node:n1". Throws Error. */
export function issueClient({ directory }: Pki, name: string, subject: string): void {
  run(directory, issue(name, subject, ["extendedKeyUsage=clientAuth"]));
}

/** A certificate of the server's by another authority, whose own is returned; ca.crt has it beside the old one. Throws Error. */
export function exchangeAuthority({ directory, names }: Pki): string {
  const old = readFileSync(`${directory}/ca.crt`, "utf8");
  run(directory, [...makeAuthority("lab2"), ...issueServer(names)]);
  const ca = readFileSync(`${directory}/ca.crt`, "utf8");
  // Certificates of clients are still of the old one.
  writeFileSync(`${directory}/ca.crt`, `${ca}${old}`);
  return ca;
}

/** The same service account token as it was a day ago, signed as the API server signs them (RFC 7515, 7518 3.4). */
export function expireToken({ directory }: Pki, token: string): string {
  const [header = "", claims = ""] = token.split(".");
  const then = Math.floor(Date.now() / 1000) - 86_400;
  const old = {
    ...JSON.parse(Buffer.from(claims, "base64url").toString()),
    iat: then,
    nbf: then,
    exp: then + 3600,
  };
  const text = `${header}.${Buffer.from(JSON.stringify(old)).toString("base64url")}`;
  const key = readFileSync(`${directory}/tokens.key`, "utf8");
  return `${text}.${sign("sha256", Buffer.from(text), { key, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
}

function run(directory: string, lines: readonly string[]): void {
  const done = Bun.spawnSync(["sh", "-euc", lines.join("\n")], { cwd: directory, stderr: "pipe" });
  if (done.exitCode !== 0) throw new Error(`Cannot make certificates in ${directory}: ${done.stderr}`);
}

function makeAuthority(name: string): string[] {
  return [`${makeKey} ca.key`, `openssl req -x509 -new -key ca.key -subj /CN=${name} -days 2 -out ca.crt`];
}

function issueServer(names: readonly string[]): string[] {
  return issue("server", "/CN=kube-apiserver", [`subjectAltName=${names}`, "extendedKeyUsage=serverAuth"]);
}

function issue(name: string, subject: string, extensions: readonly string[]): string[] {
  return [
    `${makeKey} ${name}.key`,
    `openssl req -new -key ${name}.key -subj ${subject} -out ${name}.csr`,
    `printf '%s\\n' ${extensions.join(" ")} >${name}.ext`,
    `openssl x509 -req -in ${name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile ${name}.ext -out ${name}.crt`,
  ];
}
