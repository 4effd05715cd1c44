// An error of the Kubernetes API: a sentence, and the facts that decide what to do next.

export interface KubeFailure {
  /** HTTP status; absent if there was no answer. */
  readonly status?: number;
  /** Machine-readable reason of the answer ("Expired", "Forbidden"), "" if it has none. */
  readonly reason?: string;
  /** The server asked for this pause before the next request. */
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
