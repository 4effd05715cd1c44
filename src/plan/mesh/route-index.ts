// Indexes routes by the kernel's key: table, destination, type of service and priority. NLM_F_REPLACE
// replaces the route of the same key, so there is one route for each key, and the last one that is put
// stays. Pure.
import type { Route } from "../../net/objects.ts";

export class RouteIndex {
  /** The key is the table, then the route's key: thousands of routes are in a handful of tables. */
  readonly #tables = new Map<number, Map<string, Route>>();

  put(route: Route): void {
    const table = this.#tables.get(route.table);
    if (table === undefined) this.#tables.set(route.table, new Map([[keyInTable(route), route]]));
    else table.set(keyInTable(route), route);
  }

  /** The route with the same key as this one. */
  find(route: Route): Route | undefined {
    return this.#tables.get(route.table)?.get(keyInTable(route));
  }

  list(): Route[] {
    return [...this.#tables.values()].flatMap((table) => [...table.values()]);
  }
}

/** Nearly all routes have the type of service and the priority that the kernel gives them: no text is made for these. */
function keyInTable({ family, dst, tos = 0, priority = 0 }: Route): string {
  return tos === 0 && priority === usualPriority[family] ? dst : `${dst} ${tos} ${priority}`;
}

/** IPv6 routes without one get 1024 (IP6_RT_PRIO_USER). */
const usualPriority = { 4: 0, 6: 1024 } as const;
