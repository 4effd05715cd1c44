// Asks the registry for known vulnerabilities of all packages in package-lock.json, also of those that only
// build and test. Each finding fails, unless an exception gives the reason why it does not concern wg-cni.
//
//   scripts/bun scripts/supply/audit.ts
import { resolve } from "node:path";

/** Identifier of the advisory (GHSA-…) -> the reason why it does not concern wg-cni. */
const exceptions: Readonly<Record<string, string>> = {};

interface Advisory {
  readonly title: string;
  readonly url: string;
  readonly severity: string;
  readonly range: string;
}

/** The answer of `npm audit --json`, or npm's error. */
export interface AuditReport {
  readonly message?: string;
  readonly error?: { readonly summary?: string };
  readonly vulnerabilities?: Readonly<
    Record<string, { readonly name: string; readonly via: readonly (string | Advisory)[] }>
  >;
}

export type AuditVerdict =
  | { readonly kind: "not asked"; readonly why: string }
  | { readonly kind: "asked"; readonly complaints: readonly string[] };

/** An exception that no finding needs is a complaint too: it would hide a later one. */
export function judgeAudit(report: AuditReport, excepted: Readonly<Record<string, string>>): AuditVerdict {
  const { vulnerabilities } = report;
  if (vulnerabilities === undefined)
    return { kind: "not asked", why: report.message ?? report.error?.summary ?? "npm gave no reason" };
  const found = Object.values(vulnerabilities).flatMap(({ name, via }) =>
    via.flatMap((one) =>
      typeof one === "string" ? [] : [{ ...one, name, id: one.url.split("/").at(-1) ?? "" }],
    ),
  );
  const complaints = found
    .filter(({ id }) => excepted[id] === undefined)
    .map(({ name, range, severity, title, url }) => `${name} ${range}: ${severity}: ${title} (${url})`);
  const stale = Object.keys(excepted).filter((id) => !found.some((one) => one.id === id));
  return {
    kind: "asked",
    complaints: [...complaints, ...stale.map((id) => `the exception ${id} is not needed any more`)].sort(),
  };
}

function audit(): AuditReport {
  const command = ["npm", "audit", "--json", "--fetch-retries=0", "--fetch-timeout=20000"];
  const done = Bun.spawnSync(command, {
    cwd: resolve(import.meta.dir, "../.."),
    stdout: "pipe",
    stderr: "pipe",
  });
  const text = done.stdout.toString().trim();
  return text === "" ? { message: done.stderr.toString().trim() } : (JSON.parse(text) as AuditReport);
}

if (import.meta.main) {
  const verdict = judgeAudit(audit(), exceptions);
  if (verdict.kind === "not asked") console.log(`NOT AUDITED, the registry cannot be asked: ${verdict.why}`);
  else if (verdict.complaints.length === 0) console.log("no known vulnerability");
  else console.log(verdict.complaints.join("\n"));
  process.exitCode = verdict.kind === "asked" && verdict.complaints.length > 0 ? 1 : 0;
}
