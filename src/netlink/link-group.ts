// Deletes many links at once. For each link the kernel waits until no packet can be on its way to it
// (17 ms for a veth pair), and for the links of a group it waits once (rtnl_group_dellink).
import type { Rtnl } from "./rtnl.ts";

/** The group of a link that no program has put into another. */
const noGroup = 0;

/**
 * Deletes the links that are there. `group`: a number that no link has yet; if one has it, nothing is
 * deleted. Returns false if links are left. Throws NetlinkError, SysError.
 */
export function deleteLinksTogether(rtnl: Rtnl, names: readonly string[], group: number): boolean {
  const moved = putInto(rtnl, names, group);
  const members = rtnl.links().filter((link) => link.group === group);
  if (members.some(({ name }) => !moved.includes(name))) {
    putInto(rtnl, moved, noGroup);
    return false;
  }
  const [error] = members.length === 0 ? [] : rtnl.batch().deleteLinkGroup(group).send();
  return error === undefined;
}

/** Returns the names of the links that were there. */
function putInto(rtnl: Rtnl, names: readonly string[], group: number): readonly string[] {
  const batch = rtnl.batch();
  for (const name of names) batch.changeLink(name, { group });
  const outcomes = batch.send();
  return names.filter((_, i) => outcomes[i] === undefined);
}
