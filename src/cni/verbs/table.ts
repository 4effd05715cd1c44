// The table binds the verbs to the host that they work with.

import type { Host } from "../host.ts";
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
      return add(host, request);
    },
    del: (request) => del(host, request),
    check: (request) => check(host, request),
    status,
    gc: (request) => gc(host, request),
  };
}
