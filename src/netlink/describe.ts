// Requests in the words of ip(8), for error messages: "add route 10.2.0.0/16
// dev wg-cni-a table 18099". plan/step.ts makes the commands that people see.
import type { Address, Neighbour, Route, Rule } from "../net/objects.ts";

const mainTable = 254;

export function describeRoute(route: Route): string {
  const words = [route.type === "unicast" ? "route" : `route ${route.type}`, route.dst];
  if (route.via !== undefined) words.push("via", route.via);
  if (route.dev !== undefined) words.push("dev", route.dev);
  if (route.src !== undefined) words.push("src", route.src);
  if (route.table !== mainTable) words.push("table", String(route.table));
  return words.join(" ");
}

export function describeRule(rule: Rule): string {
  const words = [`IPv${rule.family} rule ${rule.priority}:`];
  if (rule.invert) words.push("not");
  if (rule.src !== undefined) words.push("from", rule.src);
  if (rule.dst !== undefined) words.push("to", rule.dst);
  if (rule.fwmark !== undefined)
    words.push("fwmark", `0x${rule.fwmark.mark.toString(16)}/0x${rule.fwmark.mask.toString(16)}`);
  if (rule.iif !== undefined) words.push("iif", rule.iif);
  if (rule.oif !== undefined) words.push("oif", rule.oif);
  words.push(rule.action);
  const operand = rule.table ?? rule.target;
  if (operand !== undefined) words.push(String(operand));
  return words.join(" ");
}

export function describeAddress(address: Address): string {
  return `address ${address.ip}/${address.length} dev ${address.dev}`;
}

export function describeNeighbour(neighbour: Neighbour): string {
  return `neighbour ${neighbour.ip} lladdr ${neighbour.mac} dev ${neighbour.dev}`;
}
