// Generic netlink: struct genlmsghdr, and the controller that knows the number
// of each family (linux/genetlink.h).
import { message } from "./attributes.ts";
import { text, u8, u16 } from "./codec.ts";

export const GENL_ID_CTRL = 16;
export const CTRL_CMD_GETFAMILY = 3;

export const genlmsghdr = { cmd: u8, version: u8, reserved: u16 } as const;

export const controlMessage = message("genlmsghdr", genlmsghdr, {
  CTRL_ATTR_FAMILY_ID: [1, u16],
  CTRL_ATTR_FAMILY_NAME: [2, text],
});
