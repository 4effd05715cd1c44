// The error of this directory: bytes that are not the message they should be.

/** Bytes that cannot be decoded. The message names the field: "rtmsg: RTA_DST: …". */
export class DecodeError extends Error {
  override readonly name = "DecodeError";
}
