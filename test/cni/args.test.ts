// CNI_ARGS: pairs, unknown keys, IgnoreUnknown in any place.
import { describe, expect, test } from "bun:test";
import { parseArgs } from "../../src/cni/args.ts";

const valid: readonly [string, Record<string, string>][] = [
  ["", {}],
  ["IP=10.1.2.3", { IP: "10.1.2.3" }],
  ["IgnoreUnknown=1;K8S_POD_NAME=p", { IgnoreUnknown: "1", K8S_POD_NAME: "p" }],
  ["K8S_POD_NAME=p;IgnoreUnknown=true", { K8S_POD_NAME: "p", IgnoreUnknown: "true" }],
  ["K8S_POD_NAME=;IgnoreUnknown=TRUE", { K8S_POD_NAME: "", IgnoreUnknown: "TRUE" }],
  ["IgnoreUnknown=0;MAC=02:00:00:00:00:01", { IgnoreUnknown: "0", MAC: "02:00:00:00:00:01" }],
];

const invalid: readonly [string, string][] = [
  ["A", 'CNI_ARGS: invalid pair "A"'],
  ["A=B=C", 'CNI_ARGS: invalid pair "A=B=C"'],
  ["IP=10.1.2.3;", 'CNI_ARGS: invalid pair ""'],
  ["A=B;C=D", 'CNI_ARGS: unknown keys "A", "C"'],
  ["A=B;IgnoreUnknown=0", 'CNI_ARGS: unknown keys "A"'],
  ["A=B;IgnoreUnknown=maybe", 'CNI_ARGS: IgnoreUnknown="maybe" is neither true nor false'],
];

describe("CNI_ARGS", () => {
  for (const [text, pairs] of valid)
    test(`reads "${text}"`, () => expect(Object.fromEntries(parseArgs(text))).toEqual(pairs));
  for (const [text, msg] of invalid)
    test(`refuses "${text}"`, () => {
      expect(() => parseArgs(text)).toThrow(
        expect.objectContaining({ code: 4, message: expect.stringContaining(msg) }),
      );
    });
});
