import { describeLife } from "./support/life.ts";

describeLife("iptables");
