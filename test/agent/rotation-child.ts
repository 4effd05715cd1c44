// A process that rotates the keys of a node from beginning to end, or kills
// itself on the way: rotation-child.ts DIRECTORY [DIE_AT], before or after the
// DIE_ATth change that it makes to the store, or the end of a transaction.
import { syscall } from "../../src/linux/syscall.ts";
import { RotatingNode } from "./rotating.ts";

const [directory = "", dieAtText = ""] = process.argv.slice(2);
const dieAt = Number(dieAtText || Number.NaN);
let passed = 0;

const node = new RotatingNode(directory);
const { store } = node;
const putIdentity = store.putIdentity.bind(store);
const putRotation = store.putRotation.bind(store);
const transaction = store.transaction.bind(store);
store.putIdentity = (value) => around(() => putIdentity(value));
store.putRotation = (value) => around(() => putRotation(value));
store.transaction = (inside) => around(() => transaction(inside));
node.finish();
console.log(passed);
syscall("exit_group", "", 0);

function around<T>(inside: () => T): T {
  point();
  const result = inside();
  point();
  return result;
}

function point(): void {
  if (passed++ === dieAt) process.kill(process.pid, "SIGKILL");
}
