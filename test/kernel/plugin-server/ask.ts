// Asks the server of the default state directory for the call of its environment and standard input, with
// little patience. Prints the exit code and the parsed answer as JSON; {} if the call is left to it.
//
//   CNI_COMMAND=… bun ask.ts BUILD [SERVER] < CONFIGURATION
//
// SERVER: the process of a server that is stopped when it has greeted, before it has the request.
import { askServer } from "../../../src/cni/client.ts";

const [build = "", server] = process.argv.slice(2);
const stdin = new Uint8Array(await Bun.stdin.arrayBuffer());
let stdout = "";
const exitCode = askServer(
  {
    ...{ env: process.env, nowMs: () => 0, elapsedMs: () => 0, readStdin: () => stdin },
    // It is compared with the greeting.
    get build() {
      if (server !== undefined) process.kill(Number(server), "SIGSTOP");
      return build;
    },
    stdout: (text) => {
      stdout += text;
    },
    stderr: () => {},
  },
  { helloSeconds: 5, kernelTurns: 0, answerSeconds: 1 },
);
console.log(JSON.stringify(exitCode === undefined ? {} : { exitCode, answer: JSON.parse(stdout) }));
