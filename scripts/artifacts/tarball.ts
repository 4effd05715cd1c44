// The archive for other systems than Debian: the executable, and the files to be copied by hand.
import { join } from "node:path";
import { conf, type Platform, putCommon, type Release } from "./parts.ts";
import { Tree } from "./tree.ts";

const places = {
  man: "man/wg-cni.8",
  completions: {
    bash: "completions/wg-cni.bash",
    zsh: "completions/_wg-cni",
    fish: "completions/wg-cni.fish",
  },
  conflists: "conf",
};

export function makeTarball(release: Release, platform: Platform, work: string, target: string): void {
  const tree = new Tree(work);
  tree.put("wg-cni", { file: platform.executable }, 0o755);
  tree.put("LICENSE", { file: join(release.root, "LICENSE") });
  tree.put("THIRD-PARTY", release.thirdParty);
  for (const unit of ["wg-cni-agent.service", "wg-cni-userspace.service"])
    tree.put(`conf/${unit}`, conf(release.root, unit));
  putCommon(tree, release, places);
  tree.packCompressed(target, release.epochSeconds, `wg-cni-${release.version}`);
}
