// Follows the WireGuardMesh object. Its settings are kept in the store with priority over this node's
// own settings, so that every process programs the same, and an outage of the API or a restart of the
// agent changes nothing. If the object is deleted, its last settings become the node's own.
import { type MeshObject, meshObjectName } from "../../kube/mesh-object.ts";
import type { JsonValue } from "../../state/model.ts";
import type { Store } from "../../state/store.ts";
import type { Log } from "../../telemetry/log.ts";
import { ProblemLog } from "../../telemetry/problem-log.ts";
import type { RejectedRecords } from "../rejected-records.ts";
import type { MeshAnswer } from "./session.ts";

export class ModeFollower {
  #warning = "";
  readonly #problems: ProblemLog;

  constructor(
    private readonly store: Store,
    private readonly log: Log,
    private readonly refused: RejectedRecords,
    /** Returns a sentence for each cluster CIDR that contains addresses of hosts or services. */
    private readonly judge: (cidrs: readonly string[]) => readonly string[],
  ) {
    this.#problems = new ProblemLog(log);
  }

  /** A sentence that says which settings of the mesh are not followed, and why; "" if all are. */
  get warning(): string {
    return this.#warning;
  }

  /** Throws StoreError. */
  follow(mesh: MeshAnswer): void {
    if (mesh === "pending" || mesh === "unknown") return;
    if (mesh === "absent") {
      this.#release();
      this.#report("");
      return;
    }
    const taken = this.#withoutHosts(mesh);
    this.#store(taken);
    this.#report(taken.warnings.join(". "));
  }

  /** Is checked in every pass, because peers and addresses may have changed. */
  #withoutHosts({ clusterCIDRs, ...mesh }: MeshObject): MeshObject {
    if (clusterCIDRs === undefined) return mesh;
    const reasons = this.judge(clusterCIDRs);
    if (reasons.length === 0) return { ...mesh, clusterCIDRs };
    const warning = `clusterCIDRs: ${reasons.join(", ")}; it stays as it was`;
    return { ...mesh, warnings: [...mesh.warnings, warning] };
  }

  /** Settings that are not understood stay as they were. */
  #store({ mode, clusterCIDRs, nodeCIDRs, warnings }: MeshObject): void {
    const before = this.store.meshSettings();
    const said = {
      ...(warnings.length === 0 ? {} : before),
      ...(mode === undefined ? {} : { mode }),
      ...(clusterCIDRs === undefined ? {} : { clusterCIDRs }),
      ...(nodeCIDRs === undefined ? {} : { nodeCIDRs }),
    } as Record<string, JsonValue>;
    if (Bun.deepEquals(before, said)) return;
    this.store.putMeshSettings(said);
    this.log.info("this node follows the cluster's mesh", {
      ...(mode === undefined ? {} : { mode }),
      ...(clusterCIDRs === undefined ? {} : { clusterCIDRs: clusterCIDRs.join(",") }),
      ...(nodeCIDRs === undefined ? {} : { nodeCIDRs: nodeCIDRs.join(",") }),
    });
  }

  #release(): void {
    const said = Object.entries(this.store.meshSettings());
    if (said.length === 0) return;
    this.store.transaction(() => {
      for (const [name, value] of said) this.store.putSetting(name, value as JsonValue);
      this.store.putMeshSettings({});
    });
    this.log.warn("the WireGuardMesh object was deleted, its settings are now this node's own");
  }

  #report(warning: string): void {
    this.#warning = warning;
    if (!this.#problems.reportOnChange("mesh", warning === "" ? undefined : warning)) return;
    this.refused.put("mesh", warning === "" ? [] : [{ file: meshObjectName, reason: warning }]);
  }
}
