// The blocks of the documents that a test runs where it has what they need, such as a cluster.
import { repository } from "../../lab/paths.ts";
import { listPages, type ShellBlock, shellBlocks } from "./pages.ts";

interface Documented extends ShellBlock {
  readonly page: string;
}

/** Those whose marker is `run by: FILE`. */
export class DocumentedBlocks {
  readonly #left: Documented[];

  /** `file` is the test's own path. */
  constructor(file: string) {
    const name = file.replace(`${repository}/`, "");
    this.#left = listPages().flatMap((page) =>
      shellBlocks(page)
        .filter(({ marker }) => marker?.kind === "run by" && marker.value === name)
        .map((block) => ({ ...block, page })),
    );
  }

  /** The commands of the page's first block with `words` that was not taken yet. Throws Error. */
  take(page: string, words: string): string[] {
    const at = this.#left.findIndex((block) => block.page === page && block.code.includes(words));
    const [block] = at < 0 ? [] : this.#left.splice(at, 1);
    if (block === undefined) throw new Error(`${page} has no further block for this test with "${words}"`);
    return block.code.split("\n");
  }

  /** Those that were not taken. */
  get left(): string[] {
    return this.#left.map(({ page, line }) => `${page}:${line}`);
  }
}
