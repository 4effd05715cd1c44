// The error of this directory: a request that the kernel refused.
import { errnoCode, errnoText } from "../linux/errno.ts";

/** `request` describes the request: "add route 10.2.0.0/16 dev wg-cni-a table 18099". */
export class NetlinkError extends Error {
  override readonly name = "NetlinkError";
  readonly code: string;

  constructor(
    readonly request: string,
    readonly errno: number,
    /** The kernel's own sentence about the error, if it gave one. */
    readonly extack?: string,
  ) {
    super(`Cannot ${request}: ${errnoCode(errno)} (${extack ?? errnoText(errno)})`);
    this.code = errnoCode(errno);
  }
}
