// NAPI threading of the kernel's WireGuard devices, by their file in sysfs
// (Documentation/ABI/testing/sysfs-class-net: "threaded", Linux 5.12). Netlink
// has it only since 6.17. /sys shows the network namespace of the process that
// mounted it, which need not be this one: so a device is known by its index too.
import { findText, isAbsent } from "../linux/file.ts";
import { SysError } from "../linux/syscall.ts";
import type { Link } from "../net/objects.ts";
import type { Kernel } from "./kernel.ts";

/** Undefined if the device cannot have it or /sys does not show it. */
export function readThreading({ name, index, kind }: Link): boolean | undefined {
  if (kind !== "wireguard" || readAttribute(name, "ifindex") !== String(index)) return undefined;
  const threaded = readAttribute(name, "threaded");
  return threaded === undefined ? undefined : threaded !== "0";
}

/** Throws Error with the reason if it cannot be switched. */
export function writeThreading(dev: string, on: boolean, kernel: Kernel): void {
  const fault = findWrongSysfs(dev, kernel) ?? tryWrite(dev, on, kernel);
  if (fault === undefined) return;
  throw new Error(
    `Cannot switch NAPI threading of ${dev} ${on ? "on" : "off"}: ${fault.reason}. ${fault.remedy}.`,
    { cause: fault.cause },
  );
}

interface Fault {
  readonly reason: string;
  readonly remedy: string;
  readonly cause?: unknown;
}

const mountSysfs = "Mount this network namespace's own sysfs at /sys (mount -t sysfs sysfs /sys)";

function findWrongSysfs(dev: string, { host }: Kernel): Fault | undefined {
  const [shown, index] = [readAttribute(dev, "ifindex"), host.findLink(dev)?.index];
  if (shown === undefined)
    return {
      reason: `/sys/class/net/${dev} is not there: no sysfs is mounted at /sys, or another network namespace's`,
      remedy: mountSysfs,
    };
  if (shown === String(index)) return undefined;
  return { reason: "/sys shows a device of that name in another network namespace", remedy: mountSysfs };
}

function tryWrite(dev: string, on: boolean, kernel: Kernel): Fault | undefined {
  try {
    kernel.writeSysfs(`class/net/${dev}/threaded`, on ? "1" : "0");
    return undefined;
  } catch (cause) {
    if (isAbsent(cause))
      return {
        reason: "this kernel has no such setting",
        remedy: "Use Linux 5.12 or later, or --napi-threading off",
        cause,
      };
    if (cause instanceof SysError)
      return { reason: cause.message, remedy: "Make /sys writable, or use --napi-threading off", cause };
    throw cause;
  }
}

/** Reads an attribute without the line's end; undefined if that fails for any reason, which a write will report. */
function readAttribute(dev: string, attribute: string): string | undefined {
  try {
    return findText(`/sys/class/net/${dev}/${attribute}`)?.trim();
  } catch (error) {
    if (error instanceof SysError) return undefined;
    throw error;
  }
}
