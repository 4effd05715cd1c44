// Tells machines apart, for state that was copied from one to another.
import { attempt } from "../net/error.ts";
import { readText } from "./file.ts";
import { SysError } from "./syscall.ts";

/** The ID itself is not for use outside the machine (machine-id(5)), so the state has a hash of it under a name of ours. */
const application = "wg-cni";

/** Returns 32 hex digits that no other machine has (/etc/machine-id); undefined if there are none, as in most containers. */
export function findMachine(): string | undefined {
  // Nothing may fail for it: a container may have a directory there.
  const id = attempt(
    SysError,
    () => readText("/etc/machine-id").trim(),
    () => "",
  );
  if (!/^[0-9a-f]{32}$/.test(id)) return undefined;
  return new Bun.CryptoHasher("sha256", id).update(application).digest("hex").slice(0, 32);
}
