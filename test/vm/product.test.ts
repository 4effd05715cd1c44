// The product on an x86-64 machine.
import { describeProduct } from "./product.ts";

describeProduct("x64");
