/** Sets the deadline of that name, in milliseconds from now, in place of an earlier one; undefined removes it. */
export type SetDeadline = (name: string, inMs: number | undefined) => void;
