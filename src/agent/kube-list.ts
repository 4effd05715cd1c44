// All objects of one kind, page by page: neither side holds more than one.
import { type ListPage, readListPage } from "../kube/watch.ts";
import type { KubeClient, Query } from "./kube-client.ts";

/** 5,000 objects of a kilobyte come in ten answers. */
const pageSize = "500";

/** The last page has the version that a watch goes on from. Throws KubeError. */
export async function* listPages(
  client: KubeClient,
  path: string,
  query: Query,
  signal: AbortSignal,
): AsyncGenerator<ListPage> {
  for (let next: string | undefined; next !== ""; ) {
    const paging = { limit: pageSize, ...(next === undefined ? {} : { continue: next }) };
    const page = readListPage(await client.get(path, { ...query, ...paging }, signal));
    next = page.next;
    yield page;
  }
}

/** Throws KubeError. */
export async function listAll(client: KubeClient, path: string, signal: AbortSignal): Promise<unknown[]> {
  const items: unknown[] = [];
  for await (const page of listPages(client, path, {}, signal)) items.push(...page.items);
  return items;
}

/** Names alone: a Node is many kilobytes. Throws KubeError. */
export async function listNames(
  client: KubeClient,
  path: string,
  query: Query,
  signal: AbortSignal,
): Promise<string[]> {
  const names: string[] = [];
  for await (const { items } of listPages(client, path, query, signal))
    for (const item of items)
      names.push((item as { readonly metadata: { readonly name: string } }).metadata.name);
  return names;
}
