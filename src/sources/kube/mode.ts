// Follows the WireGuardMesh object: what it says is kept in the store above this
// node's own settings, so that every process programs the same, and an outage of the
// API or a restart of the agent changes nothing. Once the object is gone, what it
// said last is the node's own.
import { type MeshObject, meshObjectName } from "../../kube/mesh.ts";
import type { JsonValue } from "../../state/model.ts";
import type { Store } from "../../state/store.ts";
import type { Log } from "../../telemetry/log.ts";
import type { RejectedRecords } from "../rejected-records.ts";
import type { MeshAnswer } from "./session.ts";

export class ModeFollower {
  #warning = "";

  constructor(
    private readonly store: Store,
    private readonly log: Log,
    private readonly refused: RejectedRecords,
    /** What of cluster CIDRs holds what is no pod's: a sentence each. */
    private readonly judge: (cidrs: readonly string[]) => readonly string[],
  ) {}

  /** What of the mesh is not followed, and why: a sentence; "" if all is. */
  get warning(): string {
    return this.#warning;
  }

  /** Throws StoreError. */
  follow(mesh: MeshAnswer): void {
    if (mesh === "pending" || mesh === "unknown") return;
    if (mesh === "absent") {
      this.#release();
      this.#reportOnChange("");
      return;
    }
    const taken = this.#withoutHosts(mesh);
    this.#store(taken);
    this.#reportOnChange(taken.warnings.join(". "));
  }

  /** Each time anew: a peer may have joined with an address in them, or an address have gone. */
  #withoutHosts({ clusterCIDRs, ...mesh }: MeshObject): MeshObject {
    if (clusterCIDRs === undefined) return mesh;
    const reasons = this.judge(clusterCIDRs);
    if (reasons.length === 0) return { ...mesh, clusterCIDRs };
    const warning = `clusterCIDRs: ${reasons.join(", ")}; it stays as it was`;
    return { ...mesh, warnings: [...mesh.warnings, warning] };
  }

  /** What is not understood stays as it was. */
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
    this.log.warn("the cluster has no mesh any more: what it said is this node's own from now on");
  }

  #reportOnChange(warning: string): void {
    if (warning === this.#warning) return;
    if (warning !== "") this.log.warn(warning);
    this.#warning = warning;
    this.refused.put("mesh", warning === "" ? [] : [{ file: meshObjectName, reason: warning }]);
  }
}
