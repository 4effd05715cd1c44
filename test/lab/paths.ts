// The paths of the repository and of its built executable.

import { resolve } from "node:path";

export const repository = resolve(import.meta.dir, "../..");
/** The executable that `npm run build` makes. */
export const binary = `${repository}/plugin-bin/wg-cni`;
/** The directories that are searched for plugins, in this order. */
export const cniPath: readonly string[] = [`${repository}/plugin-bin`, "/usr/lib/cni", "/opt/cni/bin"];
