// Settings as flags: podTable is --pod-table, clusterCIDRs is --cluster-cidrs.
import type { SettingName } from "../plan/settings/settings.ts";

export function settingFlag(name: SettingName): string {
  return name.replace(/CIDRs$/, "Cidrs").replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
