// Requests to the agent's HTTP pages, and lines of the plugin's log of calls.
import { parseCall } from "../../../src/net/call-log.ts";
import { readRequest } from "../../../src/wire/http.ts";
import { hold, type Target } from "../target.ts";

export const httpRequest: Target = {
  name: "http-request",
  form: "text",
  refusals: [],
  run(input) {
    const request = readRequest(input);
    hold(
      "a path begins with a slash",
      typeof request === "string" || !("path" in request) || request.method !== "GET" || request.path !== "",
    );
    return [request, new TextDecoder().decode(input).split("\n").map(parseCall)];
  },
};
