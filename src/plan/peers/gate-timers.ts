// The gate's timing, in milliseconds, in terms of WireGuard's own timers where it depends on them.
import { keepaliveTimeoutMs, rejectAfterMs, rekeyTimeoutMs } from "../../net/wireguard-timers.ts";

/** The gate relies on a session only if the session still lasts half a minute. */
export const sessionFreshMs = rejectAfterMs - 30_000;

/** An endpoint has the time of two handshake initiations. */
export const endpointTryMs = 2 * rekeyTimeoutMs;

/** After every endpoint had its turn, the gate changes the endpoint less often. */
export const laterEndpointTryMs = 60_000;

/** An open gate waits this long for the other slot's handshake if an address of the peer is unproven. */
export const proofWaitMs = 2000;

/** One of the two nodes initiates first. The other node waits this long, in case the first one is not ready. */
export const yieldMs = 500;

/** A waiting peer is checked frequently for this long, and then as seldom as every other peer. */
export const hurryMs = 60_000;

/** In mode off, a handshake proves for this long that the peer could be encrypted to. */
export const provenMs = 900_000;

/** In mode off, the gate initiates the next handshake after this time, so that the proof does not lapse. */
export const proveAgainMs = 600_000;

/** "Sent recently" covers a little more than the distance of two polls. */
export const sendingMs = 15_000;

/** WireGuard's answer to a packet is a keepalive, or else a new handshake: the peer has the time of two of each. */
export const unansweredMs = 2 * (keepaliveTimeoutMs + rekeyTimeoutMs);

/** The gate asks a peer for a sign of life if the peer had traffic and has sent nothing for this long. */
export const overdueMs = 60_000;

/** The question must have left this node within this time. */
export const askMs = 20_000;

/** A peer without traffic for this long is left alone, because WireGuard is silent then too. */
export const trafficMs = 600_000;

/** A recovery step has this long to succeed: a keepalive or a new handshake fits in. */
export const recoveryStepMs = keepaliveTimeoutMs + rekeyTimeoutMs;

/** After the last recovery step, the gate waits longer before the steps begin again. */
export const recoveryPauseMs = 60_000;
