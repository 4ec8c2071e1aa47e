/** Whom a peer may turn out to be: arrays of SPIFFE ids, one for the same contents. */
import { parseIdentity } from "../identity/spiffe.ts";
import type { Service } from "./service.ts";
import { type Workload, workloadIdentity } from "./workload.ts";

/** Contents below which nothing is swept. */
const FEW = 1024;

/**
 * Records never change, so what was found for one holds as long as it lives; a record that takes its place finds the
 * same array by its contents.
 */
export class ExpectedIdentities {
  readonly #own = new WeakMap<Workload, readonly string[]>();
  readonly #withService = new WeakMap<Service, WeakMap<Workload, readonly string[]>>();
  readonly #byContents = new Map<string, WeakRef<readonly string[]>>();
  /** How many contents are known before those that nobody has any more are removed. */
  #sweepAt = FEW;

  /** The workload's own identity and, reached as an endpoint of `service`, the service's alternative names. */
  of(workload: Workload, service: Service | undefined): readonly string[] {
    if (service === undefined || service.subjectAltNames.length === 0) {
      let own = this.#own.get(workload);
      if (own === undefined) this.#own.set(workload, own = this.#shared([workloadIdentity(workload)]));
      return own;
    }
    let known = this.#withService.get(service);
    if (known === undefined) this.#withService.set(service, known = new WeakMap());
    let names = known.get(workload);
    if (names === undefined) {
      const alternatives = service.subjectAltNames.filter((name) => parseIdentity(name) !== undefined);
      known.set(workload, names = this.#shared([...alternatives, workloadIdentity(workload)]));
    }
    return names;
  }

  #shared(names: readonly string[]): readonly string[] {
    const contents = names.join("\0");
    const present = this.#byContents.get(contents)?.deref();
    if (present !== undefined) return present;
    this.#byContents.set(contents, new WeakRef(names));
    if (this.#byContents.size >= this.#sweepAt) this.#sweep();
    return names;
  }

  #sweep(): void {
    for (const [contents, names] of this.#byContents) {
      if (names.deref() === undefined) this.#byContents.delete(contents);
    }
    this.#sweepAt = Math.max(FEW, 2 * this.#byContents.size);
  }
}
