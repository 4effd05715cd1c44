// Reads the ID of this boot: the kernel has lost all state of earlier boots.
import { readText } from "./file.ts";

/** Changes at every boot (random(4), /proc/sys/kernel/random/boot_id). Throws SysError. */
export function readBootId(): string {
  return readText("/proc/sys/kernel/random/boot_id").trim();
}
