// What the Kubernetes API refused, or why it could not be asked: a sentence,
// with what decides what to do next.

export interface KubeFailure {
  /** HTTP status; absent where there was no answer. */
  readonly status?: number;
  /** Machine-readable reason of the answer ("Expired", "Forbidden"), "" where it gave none. */
  readonly reason?: string;
  /** The server asked to be left alone for so long. */
  readonly retryAfterMs?: number;
}

export class KubeError extends Error {
  override readonly name = "KubeError";
  constructor(
    message: string,
    readonly failure: KubeFailure = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
