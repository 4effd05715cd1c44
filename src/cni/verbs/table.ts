// The table binds the verbs to the host that they work with.

import type { Host } from "../host.ts";
import { awaitPublication } from "../publish-wait.ts";
import type { Verbs } from "../skel.ts";
import { addChained } from "./chained.ts";
import { check } from "./check.ts";
import { del } from "./del.ts";
import { gc } from "./gc.ts";
import { addStandalone } from "./standalone.ts";
import { status } from "./status.ts";

export function makeVerbs(host: Host): Verbs {
  return {
    add: (request) => {
      const add = request.conf.role === "chained" ? addChained : addStandalone;
      const result = add(host, request);
      awaitPublication(host, request);
      return result;
    },
    del: (request) => del(host, request),
    check: (request) => check(host, request),
    status,
    gc: (request) => gc(host, request),
  };
}
