// The file of the store, as it was when the agent began. Without it the store is this agent's alone: other
// processes write and read another file, or none.
import { findStatus } from "../linux/file.ts";

export class StoreFile {
  readonly #identity: string | undefined;

  constructor(private readonly path: string) {
    this.#identity = findStatus(path)?.identity;
  }

  /** Returns a sentence if the file was removed, or is another one. */
  findProblem(): string | undefined {
    const found = findStatus(this.path)?.identity;
    if (found === this.#identity) return undefined;
    const deed = found === undefined ? "removed" : "replaced";
    return `${this.path} was ${deed} while this agent runs: plugin processes and commands no longer share its state. Restart the agent.`;
  }
}
