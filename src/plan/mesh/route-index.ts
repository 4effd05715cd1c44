// Indexes routes by the kernel's key: table, destination, type of service and priority. NLM_F_REPLACE
// replaces the route of the same key, so there is one route for each key, and the last one that is put
// stays. Pure.
import type { Route } from "../../net/objects.ts";

/** The index of each list that an index has made: the diff looks up what the desired mesh has put together. */
const indexes = new WeakMap<readonly Route[], RouteIndex>();

export class RouteIndex {
  /** The key is the table, then the route's key: thousands of routes are in a handful of tables. */
  readonly #tables = new Map<number, Map<string, Route>>();
  #list: readonly Route[] | undefined;

  put(route: Route): void {
    this.#list = undefined;
    const table = this.#tables.get(route.table);
    if (table === undefined) this.#tables.set(route.table, new Map([[keyInTable(route), route]]));
    else table.set(keyInTable(route), route);
  }

  /** The route with the same key as this one. */
  find(route: Route): Route | undefined {
    return this.#tables.get(route.table)?.get(keyInTable(route));
  }

  /** Returns the same list until another route is put. */
  list(): readonly Route[] {
    if (this.#list !== undefined) return this.#list;
    const list: Route[] = [];
    for (const table of this.#tables.values()) for (const route of table.values()) list.push(route);
    this.#list = list;
    indexes.set(list, this);
    return list;
  }

  /** Returns the index of a list that will not change. */
  static of(routes: readonly Route[]): RouteIndex {
    const known = indexes.get(routes);
    if (known !== undefined) return known;
    const index = new RouteIndex();
    for (const route of routes) index.put(route);
    indexes.set(routes, index);
    return index;
  }
}

/** Nearly all routes have the type of service and the priority that the kernel gives them: no text is made for these. */
function keyInTable({ family, dst, tos = 0, priority = 0 }: Route): string {
  return tos === 0 && priority === usualPriority[family] ? dst : `${dst} ${tos} ${priority}`;
}

/** IPv6 routes without one get 1024 (IP6_RT_PRIO_USER). */
const usualPriority = { 4: 0, 6: 1024 } as const;
