// The plugin socket, from both sides: a request, and replies, in pieces.
import { maxStdinBytes } from "../../../src/cni/stdin.ts";
import { CallReader, ReplyReader } from "../../../src/wire/plugin-call.ts";
import { hold, type Target } from "../target.ts";

export const pluginSocket: Target = {
  name: "plugin-socket",
  form: "bytes",
  refusals: ["DecodeError"],
  run(input) {
    const replies = readReplies(input);
    const pieces = readCall(input, 1 + (input.length % 50));
    hold("a request in pieces is the same", Bun.deepEquals(pieces, readCall(input, input.length)));
    return [pieces, replies];
  },
};

function readCall(input: Uint8Array, size: number): unknown {
  const reader = new CallReader(maxStdinBytes);
  for (let at = 0; at < input.length; at += size) {
    const call = reader.push(input.slice(at, at + size));
    if (call !== undefined) return at + size >= input.length ? call : undefined;
  }
  return undefined;
}

/** What is no reply is no reason not to read the rest as a request. */
function readReplies(input: Uint8Array): unknown {
  let at = 0;
  const reader = new ReplyReader(() => {
    at += 7;
    return input.slice(at - 7, at);
  });
  try {
    const replies: unknown[] = [];
    for (let reply = reader.next(); reply !== undefined; reply = reader.next()) replies.push(reply);
    return replies;
  } catch (error) {
    if (error instanceof Error && error.name === "DecodeError") return error.message;
    throw error;
  }
}
