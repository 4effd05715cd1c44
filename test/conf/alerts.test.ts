// Each alert has samples for which it fires, and samples close to them for which it does not.
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { evaluate, type Samples } from "./support/promql.ts";

const text = readFileSync(`${import.meta.dir}/../../conf/alerts.yaml`, "utf8");
const { groups } = Bun.YAML.parse(text) as { groups: { rules: { alert: string; expr: string }[] }[] };
const rules = new Map(groups.flatMap(({ rules }) => rules.map(({ alert, expr }) => [alert, expr])));

const nowS = 1_900_000_000;
const permissive = { 'wg_cni_node_info{instance="n1",mode="permissive"}': 1 };
const strict = { 'wg_cni_node_info{instance="n1",mode="strict"}': 1 };
const peer = (state: string, reach: string) => ({
  [`wg_cni_peer_state{instance="n1",peer="n2",state="${state}",reach="${reach}"}`]: 1,
});
const plaintext = (packets: number) => ({
  'wg_cni_plaintext_packets_total{instance="n1",peer="n2",direction="out"}': packets,
});
const traffic = (handshakeAgeS: number, bytes: number) => ({
  'wg_cni_peer_latest_handshake_seconds{instance="n1",peer="n2"}': nowS - handshakeAgeS,
  'wg_cni_peer_sent_bytes_total{instance="n1",peer="n2"}': bytes,
});
const key = (ageS: number, rotationS: number) => ({
  'wg_cni_key_created_timestamp_seconds{instance="n1",slot="a"}': nowS - ageS,
  'wg_cni_key_rotation_interval_seconds{instance="n1"}': rotationS,
});
const host = (state: string) => ({ [`wg_cni_host_encryption{instance="n1",state="${state}"}`]: 1 });
const of = (metric: string, value: number) => ({ [`${metric}{instance="n1"}`]: value });

const cases: Readonly<
  Record<string, { readonly fires: readonly Samples[]; readonly silent: readonly Samples[] }>
> = {
  WgCniPlaintextToEncryptedPeer: {
    fires: [
      { ...plaintext(1), ...peer("encrypted", "tunnel"), ...permissive },
      { ...plaintext(1), ...peer("drift", "plaintext"), ...permissive },
    ],
    silent: [
      { ...plaintext(0), ...peer("encrypted", "tunnel"), ...permissive },
      { ...plaintext(1), ...peer("waiting", "plaintext"), ...permissive },
      { ...plaintext(1), ...peer("encrypted", "tunnel"), ...strict },
    ],
  },
  WgCniPlaintextDropped: {
    fires: [{ ...plaintext(1), ...strict }],
    silent: [
      { ...plaintext(0), ...strict },
      { ...plaintext(1), ...permissive },
    ],
  },
  WgCniPlaintextNotCounted: {
    fires: [peer("encrypted", "tunnel")],
    silent: [{ ...peer("encrypted", "tunnel"), ...plaintext(0) }],
  },
  WgCniPeerInPlaintext: {
    fires: [{ ...peer("waiting", "plaintext"), ...permissive }],
    silent: [
      { ...peer("encrypted", "tunnel"), ...permissive },
      { ...peer("ready", "plaintext"), 'wg_cni_node_info{instance="n1",mode="off"}': 1 },
    ],
  },
  WgCniPeerDrift: { fires: [peer("drift", "lost")], silent: [peer("silent", "tunnel")] },
  WgCniPeerRefused: { fires: [peer("waiting", "refused")], silent: [peer("drift", "lost")] },
  WgCniPeerStale: {
    fires: [traffic(301, 1)],
    silent: [traffic(301, 0), traffic(299, 1)],
  },
  WgCniAgentDown: {
    fires: [{ 'up{instance="n1",job="wg-cni"}': 0 }],
    silent: [{ 'up{instance="n1",job="wg-cni"}': 1, 'up{instance="n1",job="kubelet"}': 0 }],
  },
  WgCniNotReady: { fires: [of("wg_cni_ready", 0)], silent: [of("wg_cni_ready", 1)] },
  WgCniSyncFailing: {
    fires: [{ ...of("wg_cni_last_sync_timestamp_seconds", nowS - 301), ...permissive }],
    silent: [
      { ...of("wg_cni_last_sync_timestamp_seconds", nowS - 299), ...permissive },
      of("wg_cni_last_sync_timestamp_seconds", nowS - 301),
    ],
  },
  WgCniFactsUnreadable: {
    fires: [of("wg_cni_facts_readable", 0)],
    silent: [of("wg_cni_facts_readable", 1)],
  },
  WgCniDriftFlapping: {
    fires: [{ 'wg_cni_drift_corrections_total{instance="n1",step="addRule"}': 11 }],
    silent: [
      {
        'wg_cni_drift_corrections_total{instance="n1",step="addRule"}': 10,
        'wg_cni_drift_corrections_total{instance="n1",step="addRoute"}': 10,
      },
    ],
  },
  WgCniKeyTooOld: { fires: [key(7201, 3600)], silent: [key(7199, 3600), key(7201, 0)] },
  WgCniRotationStuck: {
    fires: [of("wg_cni_rotation_started_timestamp_seconds", nowS - 3601)],
    silent: [of("wg_cni_rotation_started_timestamp_seconds", nowS - 3599), {}],
  },
  WgCniHostEncryptionMissing: {
    fires: [host("reverted"), host("needs-agent"), host("needs-nftables")],
    silent: [host("on"), host("off")],
  },
  WgCniRecordsRefused: {
    fires: [
      { ...of("wg_cni_rejected_records", 0), ...of("wg_cni_refused_claims", 1) },
      { ...of("wg_cni_rejected_records", 1), ...of("wg_cni_refused_claims", 0) },
    ],
    silent: [{ ...of("wg_cni_rejected_records", 0), ...of("wg_cni_refused_claims", 0) }],
  },
  WgCniKubernetesAway: {
    fires: [
      { ...of("wg_cni_kubernetes_watching", 0), ...of("wg_cni_kubernetes_published", 1) },
      { ...of("wg_cni_kubernetes_watching", 1), ...of("wg_cni_kubernetes_published", 0) },
    ],
    silent: [{ ...of("wg_cni_kubernetes_watching", 1), ...of("wg_cni_kubernetes_published", 1) }, {}],
  },
  WgCniVerbsFailing: {
    fires: [{ 'wg_cni_verb_failures_total{instance="n1",verb="ADD",code="11"}': 4 }],
    silent: [{ 'wg_cni_verb_failures_total{instance="n1",verb="ADD",code="11"}': 3 }],
  },
};

test("every alert has cases, and every case an alert", () => {
  expect(Object.keys(cases).sort()).toEqual([...rules.keys()].sort());
});

describe.each(Object.entries(cases))("%s", (alert, { fires, silent }) => {
  const found = (samples: Samples) => evaluate(rules.get(alert) ?? "", samples, nowS).length;

  test("fires", () => expect(fires.map(found)).toEqual(fires.map(() => 1)));
  test("is silent", () => expect(silent.map(found)).toEqual(silent.map(() => 0)));
});
