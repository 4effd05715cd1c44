// Where the repository and its built executable are.

import { resolve } from "node:path";

export const repository = resolve(import.meta.dir, "../..");
/** What `npm run build` makes. */
export const binary = `${repository}/plugin-bin/wg-cni`;
/** Where plugins are looked for, in this order. */
export const cniPath: readonly string[] = [`${repository}/plugin-bin`, "/usr/lib/cni", "/opt/cni/bin"];
