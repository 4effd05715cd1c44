// Plugin, commands and plugin server are killed at a system call, or a call of theirs fails. Runs only if it is named:
// FAULTS says how many of the points are tried.
import { describeFaults } from "./support/describe.ts";

describeFaults(2000, /./);
