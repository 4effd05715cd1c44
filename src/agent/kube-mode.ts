// Follows the WireGuardMesh object: its mode becomes this node's setting, as if it
// had been typed, so that every process programs the same and an outage of the API
// changes nothing. What the object does not say stays.
import { type MeshFacts, meshObjectName } from "../kube/mesh.ts";
import { parseSetting } from "../plan/settings.ts";
import type { JsonValue } from "../state/model.ts";
import type { Store } from "../state/store.ts";
import type { Log } from "./log.ts";
import type { RefusedRecords } from "./refused.ts";

export class ModeFollower {
  #remark = "";

  constructor(
    private readonly store: Store,
    private readonly log: Log,
    private readonly refused: RefusedRecords,
  ) {}

  /** Throws StoreError. */
  follow(mesh: MeshFacts | "absent" | "unknown"): void {
    if (mesh === "unknown") return;
    const { mode, clusterCIDRs, remarks } = mesh === "absent" ? { remarks: [] } : mesh;
    this.#put("mode", mode);
    this.#put("clusterCIDRs", clusterCIDRs);
    this.#stand(remarks.join(". "));
  }

  #put(name: "mode" | "clusterCIDRs", wanted: JsonValue | undefined): void {
    const stored = this.store.settings()[name];
    const before = stored === undefined ? undefined : parseSetting(name, stored);
    if (wanted === undefined || JSON.stringify(wanted) === JSON.stringify(before)) return;
    this.store.putSetting(name, wanted);
    this.log.info("this node follows the cluster's mesh", { [name]: String(wanted) });
  }

  #stand(remark: string): void {
    if (remark === this.#remark) return;
    if (remark !== "") this.log.warn(remark);
    this.#remark = remark;
    this.refused.put("mesh", remark === "" ? [] : [{ file: meshObjectName, reason: remark }]);
  }
}
