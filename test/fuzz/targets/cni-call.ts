// A runtime's call: environment, CNI_ARGS, the network configuration and the result of the plugins before. Every call
// is answered, by a result or by an error with a code, and never as a defect.

import type { Request } from "../../../src/cni/request.ts";
import { formatPrevResult, formatResult, podIps } from "../../../src/cni/result.ts";
import { run } from "../../../src/cni/skel.ts";
import { testIo } from "../../cni/io.ts";
import { templateOf } from "../shape.ts";
import { hold, type Target } from "../target.ts";

export const cniCall: Target = {
  name: "cni-call",
  form: "json",
  refusals: [],
  run(input) {
    const { env, stdin } = readCall(input);
    const io = testIo(env, stdin);
    const verb = (request: Request) => void useRequest(request);
    const exitCode = run(io, { add: useRequest, del: verb, check: verb, status: verb, gc: verb });
    const { stdout, stderr } = io.out;
    hold("there is no stack trace", !/^\s+at /m.test(stdout + stderr) && !stdout.includes("\\n    at "));
    if (exitCode === 0) return [stdout, stderr];
    const { code, msg, cniVersion } = JSON.parse(stdout) as Record<string, unknown>;
    hold(
      "an error has a code, a sentence and a version",
      typeof code === "number" && typeof msg === "string" && typeof cniVersion === "string",
    );
    hold(`a wrong call is no defect of ours: ${msg}`, code !== 100);
    return { [`${code} ${templateOf(String(msg))}`]: stderr.length };
  },
};

/** An input is {"env": {…}, "stdin": any JSON, or the text itself}; anything else is the text of stdin of an ADD. */
function readCall(input: Uint8Array): { env: Record<string, string>; stdin: string | Uint8Array } {
  try {
    const { env, stdin } = JSON.parse(new TextDecoder().decode(input)) as Record<string, unknown>;
    const pairs = Object.entries(env as object).filter(([, value]) => typeof value === "string");
    return {
      env: Object.fromEntries(pairs),
      stdin: typeof stdin === "string" ? stdin : JSON.stringify(stdin),
    };
  } catch {
    return { env: addEnv, stdin: input };
  }
}

const addEnv = {
  CNI_COMMAND: "ADD",
  CNI_CONTAINERID: "c1",
  CNI_NETNS: "/run/netns/p",
  CNI_IFNAME: "eth0",
  CNI_PATH: "/opt/cni/bin",
};

/** Does with the previous result what verbs do before they reach the kernel. */
function useRequest({ conf, ifname }: Request): string {
  const { prevResult, cniVersion } = conf;
  if (prevResult === undefined) return "{}";
  const ips = podIps(prevResult, ifname);
  hold("addresses are not repeated", new Set(ips).size === ips.length);
  for (const version of ["0.2.0", "0.4.0", "1.1.0"] as const) JSON.parse(formatResult(prevResult, version));
  return formatPrevResult(prevResult, cniVersion);
}
