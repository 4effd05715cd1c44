// The product on an arm64 machine, with the executable that is built for it here. It runs only when it is named:
// `./scripts/test vm/arm64`.
import { command } from "./image.ts";
import { describeProduct } from "./product.ts";

command(["scripts/bun", "scripts/build.ts", "--arch", "arm64"]);

describeProduct("arm64", 4);
