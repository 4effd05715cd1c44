// The manifests agree with the product: its arguments and their values, the port of its probes, and its
// version. The files that are made of them are up to date.
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { checkManifests, makeManifests } from "../../scripts/manifests.ts";
import { commands } from "../../src/cli/commands.ts";
import { parseFlags } from "../../src/cli/flags.ts";
import { readOverrides } from "../../src/cli/overrides.ts";
import { settingTable } from "../../src/plan/settings/table.ts";

interface Container {
  readonly name: string;
  readonly image: string;
  readonly args: readonly string[];
  readonly volumeMounts: readonly { readonly mountPath: string }[];
  readonly livenessProbe?: { readonly exec: object };
  readonly readinessProbe?: { readonly exec: object };
}

const root = join(import.meta.dir, "../..");
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };

function containersOf(file: string): Container[] {
  const objects = [Bun.YAML.parse(readFileSync(join(root, file), "utf8"))].flat() as {
    readonly kind: string;
    readonly spec: { readonly template: { readonly spec: Record<string, Container[]> } };
  }[];
  const { initContainers = [], containers = [] } =
    objects.find((object) => object?.kind === "DaemonSet")?.spec.template.spec ?? {};
  return [...initContainers, ...containers];
}

const manifests = ["conf/kubernetes/daemonset.yaml", "conf/wg-cni.yaml", "conf/wg-cni-uninstall.yaml"];

test.each(manifests)("%s: its arguments are the product's, its image is of this version", (file) => {
  const containers = containersOf(file);
  expect(containers.map(({ name }) => name)).toEqual(["install", "agent"]);
  for (const { args, image } of containers) {
    const [name, ...words] = args;
    const command = commands.find((one) => one.name === name);
    if (command === undefined) throw new Error(`${file}: there is no command ${name}`);
    // Throws for a flag or a value that there is not.
    readOverrides(parseFlags(command, words), {});
    expect(image).toBe(`wg-cni:${version}`);
  }
});

test.each(manifests)(
  "%s: probes ask the agent itself, and not the process that has its metrics port",
  (file) => {
    const [, agent] = containersOf(file);
    expect(agent?.args).toContain(`--metrics-address=${settingTable.metricsAddress.default}`);
    expect(agent?.livenessProbe?.exec).toEqual({ command: ["/wg-cni", "probe", "live"] });
    expect(agent?.readinessProbe?.exec).toEqual({ command: ["/wg-cni", "probe", "ready"] });
  },
);

test("what the agent keeps has the same path in it and on the node", () => {
  const [install, agent] = containersOf("conf/wg-cni.yaml");
  const given = (flag: string) => install?.args.find((word) => word.startsWith(`--${flag}=`))?.split("=")[1];
  for (const { volumeMounts } of [install, agent] as Container[])
    expect(volumeMounts.map(({ mountPath }) => mountPath)).toEqual(
      expect.arrayContaining([given("bin-dir"), given("conf-dir"), "/var/lib/wg-cni"]),
    );
  const sealKey = settingTable.sealKeyFile.default;
  expect(agent?.volumeMounts.map(({ mountPath }) => mountPath)).toContain(
    sealKey.slice(0, sealKey.lastIndexOf("/")),
  );
});

test("what is made of the parts is as it would be made now, and has them all", () => {
  expect(checkManifests()).toEqual([]);
  const templates = [...makeManifests().keys()].filter((path) => path.startsWith("conf/chart/templates/"));
  expect(readdirSync(join(root, "conf/chart/templates")).sort()).toEqual(
    templates.map((path) => path.slice(path.lastIndexOf("/") + 1)).sort(),
  );
  expect(readdirSync(join(root, "conf/kubernetes")).sort()).toEqual(
    templates.map((path) => path.slice(path.lastIndexOf("/") + 1)).sort(),
  );
});

test("chart and image are of this version", () => {
  const chart = Bun.YAML.parse(readFileSync(join(root, "conf/chart/Chart.yaml"), "utf8"));
  expect(chart).toMatchObject({ version, appVersion: version });
  expect(readFileSync(join(root, "conf/Containerfile"), "utf8")).toContain(
    `org.opencontainers.image.version="${version}"`,
  );
});
