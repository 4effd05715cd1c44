// The stream of a watch: lines of events in pieces of any size.
import { judgeObject } from "../../../src/kube/object.ts";
import { readWatchLine } from "../../../src/kube/watch.ts";
import { LineSplitter } from "../../../src/kubeclient/line-splitter.ts";
import { hold, type Target } from "../target.ts";

export const watchStream: Target = {
  name: "watch-stream",
  form: "text",
  refusals: ["KubeError"],
  run(input) {
    const whole = [...new LineSplitter().split(input)];
    hold("a stream in pieces has the same lines", Bun.deepEquals(inPieces(input), whole));
    return whole.map((line) => {
      const { change, object, resourceVersion } = readWatchLine(line);
      return [change, resourceVersion, judgeObject(object)];
    });
  },
};

function inPieces(input: Uint8Array): string[] {
  const splitter = new LineSplitter();
  const lines: string[] = [];
  const size = 1 + (input.length % 97);
  for (let at = 0; at < input.length; at += size) lines.push(...splitter.split(input.slice(at, at + size)));
  return lines;
}
