// The wall clock of a node's program: the machine's and an offset in milliseconds that the node has in a file. A
// time namespace cannot step the wall clock.
import { readFileSync } from "node:fs";

const file = "/run/clock-offset";
const machineClock = Date.now;

Date.now = () => {
  try {
    return machineClock() + Number(readFileSync(file, "utf8"));
  } catch {
    return machineClock();
  }
};
