// The kernel's answers to requests: acknowledgements, errors and the ends of dumps.
import { nextMessage, readAck, readHeader } from "../../../src/wire/nlmsg.ts";
import { hold, type Target } from "../target.ts";

export const acknowledgements: Target = {
  name: "acknowledgements",
  form: "netlink",
  refusals: ["DecodeError"],
  run(input) {
    const acks: unknown[] = [];
    for (let at = 0; at < input.length; ) {
      const header = readHeader(input, at, input.length);
      hold("a message ends behind its beginning", nextMessage(header) > at);
      const ack = readAck(input, header);
      hold("an error number is one", Number.isInteger(ack.errno));
      acks.push(ack);
      at = nextMessage(header);
    }
    return acks;
  },
};
