// The file THIRD-PARTY of a release: the licences of all that is in the executable.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { bunPackages } from "../compile.ts";
import { type Component, readLicenseTexts } from "./components.ts";

/** The packages that come without the text of their licence, with the owner of the copyright that they name. */
const ownersWithoutText: Readonly<Record<string, string>> = { "ip-cidr": "Alexander Balasyan" };

const runtimes: readonly string[] = Object.values(bunPackages);

/** Throws an Error if the text of a licence is missing. */
export function formatThirdParty(root: string, components: readonly Component[]): string {
  const packages = components.filter(({ name }) => !runtimes.includes(name));
  const [bun] = components.filter(({ name }) => runtimes.includes(name));
  if (bun === undefined) throw new Error("Bun is not among the components");
  return [
    `wg-cni is licensed under Apache-2.0 (see LICENSE). Its executable contains the following software.\n`,
    section(`Bun ${bun.version}`, [readBunLicense(root, bun.version)]),
    ...packages.map((one) => section(`${one.name} ${one.version} (${one.license})`, textsOf(root, one))),
  ].join("\n");
}

function section(title: string, texts: readonly string[]): string {
  const line = "-".repeat(80);
  return `${line}\n${title}\n${line}\n\n${texts.join("\n\n")}\n`;
}

/** The package with the executable has no text; that of the types, which has the same version, has Bun's page of licences. */
function readBunLicense(root: string, version: string): string {
  const types = join(root, "node_modules/bun-types");
  const { version: typesVersion } = JSON.parse(
    readFileSync(join(types, "package.json"), "utf8"),
  ) as Component;
  if (typesVersion !== version)
    throw new Error(
      `bun-types is ${typesVersion} and Bun ${version}: the licences may differ, install the same version`,
    );
  const page = readFileSync(join(types, "docs/project/license.mdx"), "utf8");
  return page.replace(/^---\n[\s\S]*?\n---\n/, "").trim();
}

function textsOf(root: string, component: Component): string[] {
  const texts = readLicenseTexts(root, component);
  if (texts.length > 0) return texts;
  const owner = ownersWithoutText[component.name];
  if (owner === undefined || component.license !== "MIT")
    throw new Error(
      `${component.path} comes without the text of its licence: find it, and see ${import.meta.file}`,
    );
  return [
    `The package has no file with its licence. Its package.json names MIT, and ${owner}.\n\n${mit(owner)}`,
  ];
}

function mit(owner: string): string {
  return `Copyright (c) ${owner}

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation
the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and
to permit persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of
the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO
THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF
CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS
IN THE SOFTWARE.`;
}
