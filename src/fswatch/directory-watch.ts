// Hears of changes to a folder, also of one that is not there yet, is replaced,
// or is mounted over. Only says "look again".
import { type FSWatcher, watch } from "node:fs";
import { directoryStamp } from "./stamp.ts";

/** Nothing tells of a mount, or of what another machine has written to a shared filesystem. */
const checkMs = 5000;

export class DirectoryWatch implements Disposable {
  readonly #check: ReturnType<typeof setInterval>;
  #watcher: FSWatcher | undefined;
  /** Of the folder that `#watcher` is on; "" without one. */
  #watched = "";
  #stamp = "";

  constructor(
    private readonly directory: string,
    private readonly onChange: () => void,
  ) {
    this.#check = setInterval(() => this.#checkStamp(), checkMs);
  }

  /** Call before the folder is read: what changes from now on is heard. True where it has changed since the last call. */
  checkForChange(): boolean {
    this.#follow();
    const stamp = directoryStamp(this.directory);
    const changed = stamp !== this.#stamp;
    this.#stamp = stamp;
    return changed;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#check);
    this.#watcher?.close();
  }

  /** What nobody told us of: the watch may be on a folder that is not there any more. */
  #checkStamp(): void {
    if (directoryStamp(this.directory) === this.#stamp) return;
    this.#unwatch();
    this.onChange();
  }

  /** The kernel's watch stays on the folder that it was set on, whatever has its name now. */
  #follow(): void {
    const there = directoryStamp(this.directory).split(":").slice(0, 2).join(":");
    if (there === this.#watched) return;
    // First: a second watch on the same path would share the old one.
    this.#unwatch();
    if (there === "") return;
    try {
      this.#watcher = watch(this.directory, () => this.onChange()).on("error", () => this.#unwatch());
      this.#watched = there;
    } catch {
      // No watches left, or gone again: the check is what remains, and tries again.
    }
  }

  #unwatch(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    this.#watched = "";
  }
}
