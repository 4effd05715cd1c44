// Which boot this is: what the kernel knew before is gone with the old one.
import { readText } from "./file.ts";

/** Changes at every boot (random(4), /proc/sys/kernel/random/boot_id). Throws SysError. */
export function readBootId(): string {
  return readText("/proc/sys/kernel/random/boot_id").trim();
}
