// The Debian package. It installs the plugin and the command line, and starts nothing: a node has no identity
// before `wg-cni up`. Removing it takes the node out of the mesh and the runtime's network as the page
// docs/guides/uninstall.md does, and keeps the state; purging removes the state too.
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { run } from "./commands.ts";
import { conf, type Platform, putCommon, type Release } from "./parts.ts";
import { compress, Tree } from "./tree.ts";

const manPath = "usr/share/man/man8/wg-cni.8";
const documents = "usr/share/doc/wg-cni";
const binary = "opt/cni/bin/wg-cni";

const places = {
  man: manPath,
  completions: {
    bash: "usr/share/bash-completion/completions/wg-cni",
    zsh: "usr/share/zsh/vendor-completions/_wg-cni",
    fish: "usr/share/fish/vendor_completions.d/wg-cni.fish",
  },
  conflists: `${documents}/examples`,
};

/** A container has no systemd that runs, and maybe none at all. */
const ifRunning = "if [ -d /run/systemd/system ]; then";

const scripts: Readonly<Record<string, string>> = {
  postinst: `#!/bin/sh
set -e
${ifRunning}
  systemctl daemon-reload
  # After an upgrade: the new executable serves, and no packet is lost.
  if [ "$1" = configure ] && [ -n "$2" ]; then systemctl try-restart wg-cni-agent; fi
fi
`,
  prerm: `#!/bin/sh
# On removal the node becomes as it was before. If a step fails, the package stays: the message says why.
set -e
[ "$1" = remove ] || exit 0
/${binary} uninstall --keep-binary
# Without an identity, which the message says, nothing was made.
if [ -e /var/lib/wg-cni/state.db ] && /${binary} node show >/dev/null; then /${binary} down; fi
${ifRunning} systemctl stop wg-cni-agent; fi
if command -v systemctl >/dev/null; then systemctl disable wg-cni-agent; fi
`,
  postrm: `#!/bin/sh
set -e
${ifRunning} systemctl daemon-reload; fi
# Debian makes /opt, but no package of it owns /opt: dpkg has removed it if nothing else is in there.
mkdir -p /opt
if [ "$1" = purge ]; then rm -rf /var/lib/wg-cni /etc/wg-cni; fi
`,
};

/** Makes the package of one architecture in the directory `work`, and moves nothing else than it to `target`. */
export function makeDeb(release: Release, platform: Platform, work: string, target: string): void {
  const tree = new Tree(work);
  tree.put(binary, { file: platform.executable }, 0o755);
  tree.link("usr/bin/wg-cni", `/${binary}`);
  tree.put("usr/lib/systemd/system/wg-cni-agent.service", conf(release.root, "wg-cni-agent.service"));
  putCommon(tree, release, places);
  compress(join(work, manPath), join(work, `${manPath}.gz`));
  tree.put(`${documents}/THIRD-PARTY`, release.thirdParty);
  tree.put(`${documents}/copyright`, { file: join(release.root, "LICENSE") });
  tree.put("DEBIAN/control", control(release, platform));
  for (const [name, script] of Object.entries(scripts)) tree.put(`DEBIAN/${name}`, script, 0o755);
  run(["dpkg-deb", "--build", "--root-owner-group", "-Zgzip", "-z6", work, target], {
    SOURCE_DATE_EPOCH: String(release.epochSeconds),
  });
}

function control({ root, version, description }: Release, { architecture, executable }: Platform): string {
  const [readme] = readFileSync(join(root, "README.md"), "utf8").split("\n\n").slice(1);
  return `Package: wg-cni
Version: ${version}
Architecture: ${architecture}
Maintainer: the authors of wg-cni
Section: net
Priority: optional
Depends: libc6 (>= 2.17)
Suggests: wireguard-go
Installed-Size: ${Math.ceil(statSync(executable).size / 1024)}
Description: ${description}
${(readme ?? "")
  .replaceAll("`", "")
  .split("\n")
  .map((line) => ` ${line}`)
  .join("\n")}
`;
}
