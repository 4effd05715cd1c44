// The dashboard and the alert rules in conf/: they can be read, and they speak of
// metrics and labels that the agent has.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { scrapeBusyAgent } from "../sources/busy.ts";
import { parseExposition, parseSample } from "../telemetry/exposition.ts";

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: Record<string, string>;
  readonly annotations: Record<string, string>;
}

interface Target {
  readonly expr: string;
  readonly legendFormat: string;
  readonly datasource: unknown;
}

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: { readonly h: number; readonly w: number; readonly x: number; readonly y: number };
  readonly targets?: readonly Target[];
}

const conf = join(import.meta.dir, "../../conf");
const rulesText = readFileSync(join(conf, "alerts.yaml"), "utf8");
const { groups } = Bun.YAML.parse(rulesText) as { groups: { name: string; rules: Rule[] }[] };
const rules = groups.flatMap((group) => group.rules);
const dashboard = JSON.parse(readFileSync(join(conf, "grafana-dashboard.json"), "utf8")) as {
  readonly id: null;
  readonly uid: string;
  readonly templating: { readonly list: readonly { readonly name: string; readonly query: unknown }[] };
  readonly panels: readonly Panel[];
};
const panels = dashboard.panels.filter(({ type }) => type !== "row");
const targets = panels.flatMap((panel) => panel.targets ?? []);
const expressions = [
  ...rules.map(({ alert, expr }) => [alert, expr] as const),
  ...panels.flatMap(({ title, targets }) => (targets ?? []).map(({ expr }) => [title, expr] as const)),
];

/** The labels that Prometheus itself puts on every sample. */
const targetLabels = ["instance", "job"];
/** Sample name -> labels that it can have. */
const samples = new Map<string, Set<string>>();
const stateDir = mkdtempSync(join(tmpdir(), "wgt-conf-"));

beforeAll(async () => {
  for (const { samples: found } of parseExposition(await scrapeBusyAgent(stateDir)).values())
    for (const key of found.keys()) {
      const { name, labels } = parseSample(key);
      const known = samples.get(name) ?? new Set(targetLabels);
      for (const label of Object.keys(labels)) known.add(label);
      samples.set(name, known);
    }
  // Prometheus' own, on every target.
  samples.set("up", new Set(targetLabels));
});
afterAll(() => rmSync(stateDir, { recursive: true }));

const allLabels = () => new Set([...samples.values()].flatMap((labels) => [...labels]));
const inBraces = /\{\{\s*\$?(?:labels\.)?(\w+)/g;

describe.each(expressions)("%s", (_, expr) => {
  test("names only metrics that the agent has, with labels that they have", () => {
    const selectors = [...expr.matchAll(/\b(wg_cni_\w+|process_\w+|up)\b(?:\{([^}]*)\})?/g)];
    expect(selectors).not.toBeEmpty();
    for (const [, name, matchers] of selectors) {
      expect([...samples.keys()]).toContain(name!);
      for (const [, label] of (matchers ?? "").matchAll(/(\w+)\s*(?:=~|!~|!=|=)\s*"/g))
        expect([...samples.get(name!)!], `${name}{${label}}`).toContain(label!);
    }
    for (const [, labels] of expr.matchAll(/\b(?:by|on|group_left|without|ignoring)\s*\(([^()]*)\)/g))
      for (const label of labels!.split(",").map((one) => one.trim()))
        if (label !== "") expect([...allLabels()], `by (${label})`).toContain(label);
  });

  test("closes what it opens", () => {
    const unquoted = expr.replace(/"[^"]*"/g, "");
    for (const [open, close] of ["()", "{}", "[]"] as unknown as [string, string][])
      expect(unquoted.split(open).length, `${open}${close}`).toBe(unquoted.split(close).length);
    expect(expr.split('"').length % 2).toBe(1);
  });
});

describe("alerts.yaml", () => {
  test("every rule says what, why and what to do, by a name of its own", () => {
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length);
    for (const rule of rules) {
      expect(rule.alert).toMatch(/^WgCni[A-Z]\w+$/);
      expect(["critical", "warning"], rule.alert).toContain(rule.labels["severity"]!);
      expect(rule.for ?? "1m", rule.alert).toMatch(/^\d+[smh]$/);
      expect(Object.keys(rule.annotations).sort(), rule.alert).toEqual(["description", "runbook", "summary"]);
      for (const [name, text] of Object.entries(rule.annotations)) {
        expect(text.length, `${rule.alert}.${name}`).toBeGreaterThan(20);
        for (const [, label] of text.matchAll(/\{\{\s*\$labels\.(\w+)/g))
          expect([...allLabels()], `${rule.alert}.${name}`).toContain(label!);
      }
    }
  });

  test("has a rule for each of what must not go unnoticed", () => {
    const all = rules.map(({ expr }) => expr).join("\n");
    for (const name of [
      "wg_cni_plaintext_packets_total",
      "wg_cni_peer_latest_handshake_seconds",
      "up",
      "wg_cni_ready",
      "wg_cni_key_created_timestamp_seconds",
      "wg_cni_last_sync_timestamp_seconds",
      "wg_cni_drift_corrections_total",
    ])
      expect(all).toMatch(new RegExp(`\\b${name}\\b`));
  });
});

describe("grafana-dashboard.json", () => {
  test("can be imported: no id of another Grafana, the datasource a variable", () => {
    expect(dashboard.id).toBeNull();
    expect(dashboard.uid).toBe("wg-cni");
    expect(dashboard.templating.list.map(({ name }) => name)).toEqual(["datasource", "instance", "peer"]);
    for (const { datasource } of targets)
      expect(datasource).toEqual({ type: "prometheus", uid: expect.stringMatching(/^\$\{datasource\}$/) });
    const variables = new Set([...dashboard.templating.list.map(({ name }) => name), "__rate_interval"]);
    for (const [, name] of JSON.stringify(dashboard).matchAll(/\$\{?(\w+)/g))
      if (name !== "__all") expect([...variables]).toContain(name!);
  });

  test("its panels have a title, a description and a place of their own", () => {
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length);
    for (const panel of panels) {
      expect(panel.description, panel.title).toEndWith(".");
      expect(panel.gridPos.x + panel.gridPos.w).toBeLessThanOrEqual(24);
      const overlapping = dashboard.panels.filter((other) => overlap(panel.gridPos, other.gridPos));
      expect(overlapping.map(({ title }) => title)).toEqual([panel.title]);
    }
  });

  test("its legends name labels that there are", () => {
    for (const { legendFormat } of targets)
      for (const [, label] of legendFormat.matchAll(inBraces)) expect([...allLabels()]).toContain(label!);
  });

  test("shows every metric that the agent has", () => {
    const all = targets.map(({ expr }) => expr).join("\n") + rulesText;
    const names = [...samples.keys()].map((name) => name.replace(/_(bucket|sum|count)$/, ""));
    const shown = (name: string) => new RegExp(`\\b${name}(_bucket|_sum|_count)?\\b`).test(all);
    expect(names.filter((name) => !shown(name))).toEqual([]);
  });
});

function overlap(a: Panel["gridPos"], b: Panel["gridPos"]): boolean {
  return a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
}
