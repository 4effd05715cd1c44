// Lists all objects of one kind, page by page, so that neither side holds more than one page.
import { type ListPage, readListPage } from "../kube/watch.ts";
import type { KubeClient, Query } from "./client.ts";

/** 5,000 objects of a kilobyte come in ten answers. */
const pageSize = "500";

/** The last page has the version from which a watch continues. Throws KubeError. */
export async function* listPages(
  client: KubeClient,
  path: string,
  query: Query,
  signal: AbortSignal,
  part?: "metadata",
): AsyncGenerator<ListPage> {
  for (let next: string | undefined; next !== ""; ) {
    const paging = { limit: pageSize, ...(next === undefined ? {} : { continue: next }) };
    const page = readListPage(await client.get(path, { ...query, ...paging }, signal, part));
    next = page.next;
    yield page;
  }
}

/** Lists complete objects. Throws KubeError. */
export async function listAll(client: KubeClient, path: string, signal: AbortSignal): Promise<unknown[]> {
  const items: unknown[] = [];
  for await (const page of listPages(client, path, {}, signal)) items.push(...page.items);
  return items;
}

/** Lists names only. Throws KubeError. */
export async function listNames(
  client: KubeClient,
  path: string,
  query: Query,
  signal: AbortSignal,
): Promise<string[]> {
  return [...(await listUids(client, path, query, signal)).keys()];
}

/** Lists names with UIDs; the server sends only the metadata. Throws KubeError. */
export async function listUids(
  client: KubeClient,
  path: string,
  query: Query,
  signal: AbortSignal,
): Promise<Map<string, string>> {
  const uids = new Map<string, string>();
  for await (const { items } of listPages(client, path, query, signal, "metadata"))
    for (const item of items) {
      const { name, uid } = (item as { readonly metadata: Record<"name" | "uid", string> }).metadata;
      uids.set(name, uid);
    }
  return uids;
}
