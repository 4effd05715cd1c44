// Our ports in the host's list of reserved ones: added to what is there, and only
// they are taken out again.
import { expect, test } from "bun:test";
import { withoutPorts, withPorts } from "../../../src/plan/host/reserved-ports.ts";

const ours = [51820, 51821];

test.each([
  ["", "51820-51821"],
  ["8080", "8080,51820-51821"],
  ["8080,51820-51821", "8080,51820-51821"],
  ["51000-52000", "51000-52000"],
  ["51821,60000-60010", "51820-51821,60000-60010"],
  ["51822-51830,51819", "51819-51830"],
])("with ours, %j is %j", (list, expected) => {
  expect(withPorts(list, ours)).toBe(expected);
});

test.each([
  ["51820-51821", "", ""],
  ["8080,51820-51821", "8080", "8080"],
  ["8080,9000,51820-51821", "8080", "8080,9000"],
  ["51820-51821", "51820", "51820"],
  ["51819-51830", "51819,51822-51830", "51819,51822-51830"],
  ["8080", "8080", "8080"],
  ["51000-52000", "51000-52000", "51000-52000"],
])("without ours, %j that was %j is %j", (list, before, expected) => {
  expect(withoutPorts(list, ours, before)).toBe(expected);
});
