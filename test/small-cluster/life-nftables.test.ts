import { describeLife } from "./support/life.ts";

describeLife("nftables");
