/** Injected faults (envoy.extensions.filters.http.fault.v3.HTTPFault). */
import type { Fault } from "../snapshot/mod.ts";

/** Fractions are out of this. */
const MILLION = 1_000_000;

export interface FaultDecision {
  /** 0: no delay. */
  readonly delayMs: number;
  /** After the delay. With `grpcStatus` the answer is a 200 that carries it. */
  readonly abort: { readonly status: number; readonly grpcStatus: number | undefined } | undefined;
}

const NO_FAULT: FaultDecision = { delayMs: 0, abort: undefined };

/** @param random uniform in [0, 1) */
export function decideFault(fault: Fault, random: () => number): FaultDecision {
  const { delay, abort } = fault;
  const delayed = delay !== undefined && random() * MILLION < delay.fraction;
  const aborted = abort !== undefined && random() * MILLION < abort.fraction;
  if (!delayed && !aborted) return NO_FAULT;
  return {
    delayMs: delayed ? delay.ms : 0,
    abort: aborted ? { status: abort.status ?? 200, grpcStatus: abort.grpcStatus } : undefined,
  };
}
