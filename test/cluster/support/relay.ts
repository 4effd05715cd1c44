// The door into a lab for the test process: listens on a loopback port of the
// machine, then moves to the network namespace of the lab and connects there. A
// socket stays in the namespace it was opened in. Says its port.
//
//   bun test/cluster/support/relay.ts NETNS PORT
import { closeFd, openFile } from "../../../src/linux/file.ts";
import { syscall } from "../../../src/linux/syscall.ts";
import { Relay } from "./slow-relay.ts";

const CLONE_NEWNET = 0x40000000;

const [netns = "", port = ""] = process.argv.slice(2);
const relay = new Relay("127.0.0.1", 0, { delayMs: 0, target: Number(port) });
const fd = openFile(netns);
syscall("setns", netns, fd, CLONE_NEWNET);
closeFd(fd);
console.error(`listening on ${relay.port}.`);
