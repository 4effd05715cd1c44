// Bounds the lines about many things of one kind, so that the log stays readable.
import type { Fields, Level, Log } from "./log.ts";

/** More lines of one kind than this at once are counted instead of listed. */
const maxLines = 10;

export interface LogLine {
  readonly level: Level;
  readonly message: string;
  readonly fields?: Fields;
}

/** Logs the first lines with each message, and one line with the number of the further ones. `listedBy`: the command that lists all. */
export function logFew(log: Log, lines: readonly LogLine[], listedBy?: string): void {
  for (const [message, group] of Map.groupBy(lines, (line) => line.message)) {
    for (const { level, fields } of group.slice(0, maxLines)) log[level](message, fields);
    const [left] = group.slice(maxLines);
    const list = listedBy === undefined ? "" : `; \`${listedBy}\` has them all`;
    if (left !== undefined) log[left.level](`${message} (and ${group.length - maxLines} more${list})`);
  }
}

/** Logs the lines, or instead of too many of them one line with their number: `summary (12 peers)`. */
export function logOrCount(log: Log, lines: readonly LogLine[], summary: string, things: string): void {
  if (lines.length > maxLines) log.info(`${summary} (${lines.length} ${things})`);
  else for (const { level, message, fields } of lines) log[level](message, fields);
}
