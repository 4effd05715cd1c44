// docs/reference/crd.md: the custom resources with every field, from their schemas.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { code, page, sentence, table } from "./markdown.ts";

const files = ["conf/kubernetes/crd.yaml", "conf/kubernetes/mesh.yaml"];

interface Schema {
  readonly type: string;
  readonly description?: string;
  readonly format?: string;
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxItems?: number;
  readonly maxLength?: number;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly "x-kubernetes-validations"?: readonly Rule[];
}

interface Rule {
  readonly message?: string;
  readonly messageExpression?: string;
}

interface Version {
  readonly name: string;
  readonly additionalPrinterColumns?: readonly {
    readonly name: string;
    readonly description?: string;
    readonly jsonPath: string;
    readonly priority?: number;
  }[];
  readonly schema: { readonly openAPIV3Schema: Schema };
}

interface Definition {
  readonly kind: string;
  readonly spec: {
    readonly group: string;
    readonly scope: string;
    readonly names: {
      readonly kind: string;
      readonly plural: string;
      readonly shortNames: readonly string[];
    };
    readonly versions: readonly Version[];
  };
}

export function crdPage(root: string): string {
  const definitions = files
    .flatMap((file) => [Bun.YAML.parse(readFileSync(join(root, file), "utf8"))].flat() as Definition[])
    .filter(({ kind }) => kind === "CustomResourceDefinition");
  return page(
    "# Custom resources",
    `\`kubectl explain wireguardnode.spec\` shows the same. The API server refuses an object that breaks a
limit; agents check again what they read.`,
    ...definitions.flatMap(({ spec }) => spec.versions.map((version) => section(spec, version))),
  );
}

function section({ group, scope, names }: Definition["spec"], version: Version): string {
  const { openAPIV3Schema: schema } = version.schema;
  const columns = (version.additionalPrinterColumns ?? []).map(
    ({ name, description, jsonPath, priority }) => [
      `${name}${priority === undefined ? "" : " (`-o wide`)"}`,
      code(jsonPath),
      description === undefined ? "" : sentence(description),
    ],
  );
  return page(
    `## ${names.kind}`,
    sentence(schema.description ?? ""),
    `Group and version \`${group}/${version.name}\`, scope ${scope}, \`kubectl get ${names.plural}\` (short
\`${names.shortNames.join("`, `")}\`).${refusals(schema)}`,
    table(["Field", "Type", "Limits", "Meaning"], fields(schema, "")),
    columns.length === 0
      ? ""
      : `### Columns of \`kubectl get ${names.plural}\`\n\n${table(["Column", "Field", "Meaning"], columns)}`,
  ).trimEnd();
}

/** A row for each field below `schema`, parents first. */
function fields(schema: Schema, path: string): string[][] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const own = `${path}${name}`;
    const item = field.items;
    const row = [
      code(own),
      typeOf(field),
      limits(field, schema.required?.includes(name) === true),
      sentence(field.description ?? ""),
    ];
    return [row, ...(item === undefined ? fields(field, `${own}.`) : fields(item, `${own}[].`))];
  });
}

function typeOf({ type, format, items }: Schema): string {
  if (items !== undefined) return `list of ${typeOf(items)}s`;
  return format === "date-time" ? "time" : type;
}

function limits(field: Schema, required: boolean): string {
  const { minimum, maximum, maxItems, items } = field;
  const allowed = (field.enum ?? []).map(code).join(", ");
  return [
    required ? "required" : "",
    allowed,
    minimum === undefined ? "" : maximum === undefined ? `at least ${minimum}` : `${minimum} to ${maximum}`,
    maxItems === undefined ? "" : `at most ${maxItems}`,
    lengthLimit(field),
    items === undefined ? "" : lengthLimit(items),
    refusals(field),
    items === undefined ? "" : refusals(items),
  ]
    .filter((limit) => limit !== "")
    .map((limit) => limit.trim())
    .join("; ");
}

function lengthLimit({ maxLength }: Schema): string {
  return maxLength === undefined ? "" : `at most ${maxLength} characters`;
}

/** Returns the API server's messages about values that it refuses. */
function refusals(schema: Schema): string {
  const messages = (schema["x-kubernetes-validations"] ?? []).map(
    ({ message, messageExpression = "" }) => message ?? messageExpression.replace(/^self \+ ' (.*)'$/, "$1"),
  );
  return messages.length === 0 ? "" : ` Refused: ${messages.join("; ")}`;
}
