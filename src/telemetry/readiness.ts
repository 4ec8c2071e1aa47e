/** One thing that must have happened before this process may take traffic. */
export interface ReadinessTask {
  ready(): void;
  /** Takes readiness back, as the loss of the CNI connection does. */
  pending(): void;
}

/**
 * What is still missing before the process is ready; served on 15021 as istio's ztunnel does.
 * A task counts as pending from the moment it is named.
 */
export class Readiness {
  readonly #pending = new Set<string>();

  task(name: string): ReadinessTask {
    const pending = this.#pending;
    pending.add(name);
    return { ready: () => void pending.delete(name), pending: () => void pending.add(name) };
  }

  get ready(): boolean {
    return this.#pending.size === 0;
  }

  /** Names of what is missing, sorted. */
  get pending(): string[] {
    return [...this.#pending].sort();
  }
}
