/** How many retries may run at once (Envoy: circuit_breakers.thresholds.max_retries and retry_budget). */
import type { CircuitBreakers } from "../snapshot/cluster.ts";

/**
 * Counts requests and retries of one cluster. With a budget, retries are limited to a share of the active requests but
 * at least `minConcurrency`; without one, to `maxRetries`. Where a retry finds no place, the client gets the answer that
 * was to be retried, and the response flag is UO (as Envoy's `upstream_rq_retry_overflow`).
 */
export class RetryBudget {
  #breakers: CircuitBreakers;
  #requests = 0;
  #retries = 0;

  constructor(breakers: CircuitBreakers) {
    this.#breakers = breakers;
  }

  get activeRequests(): number {
    return this.#requests;
  }

  get activeRetries(): number {
    return this.#retries;
  }

  /** How many retries may run at this moment. */
  get limit(): number {
    const { retryBudget, maxRetries } = this.#breakers;
    if (retryBudget === undefined) return maxRetries;
    return Math.max(Math.floor((this.#requests * retryBudget.percent) / 100), retryBudget.minConcurrency);
  }

  update(breakers: CircuitBreakers): void {
    this.#breakers = breakers;
  }

  requestStarted(): void {
    this.#requests++;
  }

  requestEnded(): void {
    this.#requests--;
  }

  /** Takes a place for a retry, to be given back by `retryEnded`; false: there is none. */
  tryRetry(): boolean {
    if (this.#retries >= this.limit) return false;
    this.#retries++;
    return true;
  }

  retryEnded(): void {
    this.#retries--;
  }
}
