// Reports changes in a directory. The directory may not exist yet, may be replaced, or may be mounted
// over. The watch reports only that something changed; the caller reads the directory again.
import { type FSWatcher, watch } from "node:fs";
import { directoryStamp } from "./stamp.ts";

/** The kernel reports neither mounts nor writes of other machines to a shared filesystem, so the stamp is polled. */
const checkMs = 5000;

export class DirectoryWatch implements Disposable {
  readonly #check: ReturnType<typeof setInterval>;
  #watcher: FSWatcher | undefined;
  /** Identity of the directory that `#watcher` watches; "" if there is no watcher. */
  #watched = "";
  #stamp = "";

  constructor(
    private readonly directory: string,
    private readonly onChange: () => void,
  ) {
    this.#check = setInterval(() => this.#checkStamp(), checkMs);
  }

  /** Call this before reading the directory: every later change is reported. Returns true if it has changed since the last call. */
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

  /** Finds changes that the kernel did not report; the watched directory may no longer exist. */
  #checkStamp(): void {
    if (directoryStamp(this.directory) === this.#stamp) return;
    this.#unwatch();
    this.onChange();
  }

  /** The kernel's watch stays on the original directory, even if another one has its name now. */
  #follow(): void {
    const there = directoryStamp(this.directory).split(":").slice(0, 2).join(":");
    if (there === this.#watched) return;
    // The old watch is closed first, because a second watch on the same path would share it.
    this.#unwatch();
    if (there === "") return;
    try {
      this.#watcher = watch(this.directory, () => this.onChange()).on("error", () => this.#unwatch());
      this.#watched = there;
    } catch {
      // No watches are left, or the directory is gone again. The periodic check tries again.
    }
  }

  #unwatch(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    this.#watched = "";
  }
}
