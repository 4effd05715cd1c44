// docs/reference/errors.md: the codes of CNI errors and of the command line, with
// their remedies. A code of the plugin without a row here does not compile.
import { exitCodes } from "../../src/cli/command.ts";
import { type CniErrorKind, cniCodes } from "../../src/cni/error.ts";
import { code, page, sentence, table } from "./markdown.ts";

interface Explanation {
  readonly meaning: string;
  readonly remedy: string;
}

const explanations: Readonly<Record<CniErrorKind, Explanation>> = {
  incompatibleVersion: {
    meaning: "The configuration has a `cniVersion` that wg-cni does not speak.",
    remedy: "Set `cniVersion` to one of the versions that the details name.",
  },
  unsupportedField: {
    meaning: "The configuration asks for something that wg-cni does not do and must not ignore.",
    remedy: "Remove the key that the message names.",
  },
  unknownContainer: {
    meaning: "The container is not known. wg-cni never answers this itself; a delegated IPAM plugin may.",
    remedy: "See what that plugin says of it.",
  },
  invalidEnvironment: {
    meaning: "A CNI_* variable is missing or not valid.",
    remedy: "See how the runtime calls plugins; the message names the variables.",
  },
  io: {
    meaning: "The standard input cannot be read, or the state store cannot be read or written.",
    remedy: "Run `wg-cni doctor`: its checks `store` and `disk` name the cause.",
  },
  decode: {
    meaning: "The configuration on the standard input is no JSON object.",
    remedy: "Check the file in the runtime's directory of networks.",
  },
  invalidConfig: {
    meaning: "A key of the configuration has a value that cannot be used.",
    remedy: "Correct the key that the message names; see [cni-configuration.md](cni-configuration.md).",
  },
  invalidNetns: {
    meaning: "CNI_NETNS cannot be entered, or is the runtime's own network namespace.",
    remedy: "Usually the pod ended meanwhile. If it repeats, see the runtime's log.",
  },
  tryAgain: {
    meaning:
      "Another process holds the store, or the mesh cannot be programmed and strict mode starts no pod without it.",
    remedy:
      "Nothing at first, as the runtime repeats the call. If it fails for minutes, run `wg-cni doctor`.",
  },
  unavailable: {
    meaning: "STATUS: an ADD would fail.",
    remedy: "The message has the cause; `wg-cni status` and `wg-cni doctor` on the node have more.",
  },
  limited: {
    meaning:
      "STATUS: an ADD would fail, and running pods may have lost connectivity. wg-cni never answers this itself; a delegated IPAM plugin may.",
    remedy: "See what that plugin says of it.",
  },
  internal: {
    meaning: "wg-cni has a defect.",
    remedy: "Report it with the details, which have the stack.",
  },
  kernel: {
    meaning: "The kernel refused a request.",
    remedy: "Run `wg-cni doctor`: it checks what the kernel must have.",
  },
  system: {
    meaning: "A system call failed.",
    remedy: "The message names the call and its object, such as a file without room or rights.",
  },
  exists: {
    meaning: "An interface or a route that ADD must create exists already.",
    remedy: "Remove what the message names, or let the runtime call DEL first.",
  },
  checkFailed: {
    meaning: "CHECK found that something of the pod's network is missing or changed.",
    remedy: "`wg-cni sync` restores the node's part; start the pod anew for the rest.",
  },
  exhausted: {
    meaning: "No address is free in a range.",
    remedy: "Widen the range or the node's pod CIDRs. The agent releases addresses of pods that are gone.",
  },
  delegate: {
    meaning: "A delegated plugin could not be started, or failed without saying how.",
    remedy: "See whether the plugin is in CNI_PATH; the details have its output.",
  },
  incomplete: {
    meaning: "GC removed what it could, but not everything.",
    remedy: "The message lists what is left. The next GC tries it again.",
  },
  unprotected: {
    meaning:
      "Strict mode does not start this pod: its traffic could not be encrypted, or its address belongs to another node.",
    remedy: "The message says which. Use another interface type or address, or permissive mode.",
  },
};

export function errorsPage(): string {
  const kinds = Object.keys(cniCodes) as CniErrorKind[];
  return page(
    "# Errors",
    "## Of the plugin",
    `A verb that fails prints \`{"cniVersion", "code", "msg", "details"}\` on the standard output and ends with
exit code 1. Codes up to 99 are those of the CNI specification; 100 and above are wg-cni's own. A delegated
IPAM plugin's code is passed on. The directory of the store has a line for each failure in \`plugin.log\`;
\`wg_cni_verb_failures_total\` counts them by code.`,
    table(
      ["Code", "Meaning", "What to do"],
      kinds.map((kind) => [
        code(String(cniCodes[kind])),
        explanations[kind].meaning,
        explanations[kind].remedy,
      ]),
    ),
    "## Of the command line",
    `An error is one sentence on standard error: what failed, on what, why, and what to do. With \`--json\` it
is \`{"error": "…"}\` on the standard output. The exit code says of which kind it is.`,
    table(
      ["Code", "Meaning"],
      exitCodes.map(([exitCode, meaning]) => [code(String(exitCode)), sentence(meaning)]),
    ),
    `What the states, alerts and checks mean is in the [runbook](../operations/runbook.md).`,
  );
}
