// The same as cni-call, but with damage to the text of stdin instead of to its JSON.

import type { Target } from "../target.ts";
import { cniCall } from "./cni-call.ts";

export const cniInput: Target = { ...cniCall, name: "cni-input", form: "text" };
