import type { AddressFamily, ResolvedHostname } from "../dns/mod.ts";
import { formatIdentity, type WorkloadCertificate } from "../identity/mod.ts";
import { SocketStock } from "../linux/mod.ts";
import type { MeshState, Workload, WorkloadInfo } from "../mesh/mod.ts";
import { CONNECT_TIMEOUT_MS, type DialOptions } from "../net/tcp.ts";
import type { Span } from "../telemetry/mod.ts";
import type { DataPlane } from "./data_plane.ts";
import type { Asked } from "./demand.ts";
import { Hold, type Holdable, holdFull } from "./hold.ts";
import { ConnectionTracker } from "./tracker.ts";

/** One captured workload: who it is, and where its sockets live. */
export class WorkloadContext {
  readonly plane: DataPlane;
  readonly info: WorkloadInfo;
  /** Network namespace of the pod (fd); undefined: our own. */
  readonly namespace: number | undefined;
  /** SO_MARK of every socket; undefined: none. */
  readonly mark: number | undefined;
  /** The listener in the proxy's own namespace, for its own metrics port (spec/ztunnel.md §2.7). */
  readonly self: boolean;
  /** What its log lines happen within (spec/ztunnel.md §10.3). */
  readonly spans: readonly Span[];
  readonly tracker: ConnectionTracker;
  readonly dialOptions: DialOptions;
  /** Whether the kernel lets us use a client's address toward the application; known once the listeners are there. */
  preserveSource = false;
  #stock: SocketStock | undefined = undefined;
  /** Connections that wait for the pod's own record or certificate, or for the address of a name. */
  readonly #hold: Hold;
  readonly #identities = new Map<string, string>();

  constructor(
    plane: DataPlane,
    info: WorkloadInfo,
    namespace: number | undefined,
    mark: number | undefined,
    self = false,
  ) {
    this.plane = plane;
    this.info = info;
    this.namespace = namespace;
    this.mark = mark;
    this.self = self;
    const { keepAlive, userTimeoutMs } = plane;
    this.spans = [{ name: "proxy", fields: [["wl", `${info.namespace}/${info.name}`]] }];
    this.tracker = new ConnectionTracker(plane.config.idleTimeout);
    this.#hold = new Hold(plane.held);
    this.dialOptions = {
      ...(namespace === undefined ? {} : { stock: this.#stock = new SocketStock(namespace) }),
      ...(mark === undefined ? {} : { mark }),
      ...(keepAlive === undefined ? {} : { keepAlive }),
      ...(userTimeoutMs === undefined ? {} : { userTimeoutMs }),
    };
  }

  /** To be called when the workload is gone: nothing may be done in its name, or in its namespace, from here on. */
  close(): void {
    this.#hold.close();
    this.tracker.close();
    this.#stock?.close();
  }

  /**
   * The pod's own record for one of its connections: at once where it is known, else when it comes, `undefined` after
   * 5 s. A connection whose pod goes meanwhile is aborted and never hears; `refused` says that too many wait.
   */
  localWorkload(
    connection: Holdable,
    found: (record: Workload | undefined) => void,
    refused: (error: string) => void,
  ): void {
    const { mesh } = this.plane;
    const known = mesh.current.localWorkload(this.info);
    if (known !== undefined) {
      found(known);
      return;
    }
    const taken = this.#hold.take(connection, "workload");
    if (taken === "full") refused(holdFull("workload"));
    if (taken !== "held") return;
    mesh.localWorkload(this.info, (record) => {
      if (this.#hold.release(connection)) found(record);
    });
  }

  /**
   * The pod's certificate for one of its connections: at once where it is there, else when it comes. A connection whose
   * pod goes meanwhile is aborted and never hears. `refused` says why there is none.
   */
  certificate(
    connection: Holdable,
    identity: string,
    found: (certificate: WorkloadCertificate) => void,
    refused: (error: string) => void,
  ): void {
    const { certificates } = this.plane;
    const known = certificates.peek(identity);
    if (known !== undefined) {
      found(known);
      return;
    }
    const taken = this.#hold.take(connection, "certificate");
    if (taken === "full") refused(`identity error: ${holdFull("certificate")}`);
    if (taken !== "held") return;
    const timer = setTimeout(() => {
      if (this.#hold.release(connection)) refused("identity error: no certificate in time");
    }, CONNECT_TIMEOUT_MS);
    const settled = (answer: () => void) => {
      clearTimeout(timer);
      if (this.#hold.release(connection)) answer();
    };
    certificates.get(identity, "realtime").then(
      (certificate) => settled(() => found(certificate)),
      (error: Error) => settled(() => refused(`identity error: ${error.message}`)),
    );
  }

  /** An address of a name for one of the pod's connections; as above, one whose pod goes meanwhile never hears. */
  address(
    connection: Holdable,
    hostname: string,
    prefer: AddressFamily,
    done: (result: ResolvedHostname) => void,
    refused: (error: string) => void,
  ): void {
    const taken = this.#hold.take(connection, "name");
    if (taken === "full") refused(holdFull("name"));
    if (taken !== "held") return;
    this.plane.hostnames.resolve(hostname, prefer, (result) => {
      if (this.#hold.release(connection)) done(result);
    });
  }

  /**
   * A decision about one of the pod's connections: at once, or where records are fetched on demand, when all are there
   * that it asks for. `refused` says that too many wait. `asked` is of no concern to callers.
   */
  decide<T>(
    connection: Holdable,
    decide: (mesh: MeshState) => T,
    done: (decision: T) => void,
    refused: (error: string) => void,
    asked?: Asked,
  ): void {
    const { mesh, demand } = this.plane;
    if (demand === undefined) {
      done(decide(mesh.current));
      return;
    }
    const known = asked ?? new Set();
    const { value, missing } = demand.read(decide, known);
    if (missing.length === 0) {
      done(value);
      return;
    }
    const taken = this.#hold.take(connection, "resource");
    if (taken === "full") refused(holdFull("resource"));
    if (taken !== "held") return;
    for (const name of missing) known.add(name);
    demand.fetch(missing, () => {
      if (this.#hold.release(connection)) this.decide(connection, decide, done, refused, known);
    });
  }

  /** Connections that wait for a record, a certificate or an address. */
  get held(): number {
    return this.#hold.size;
  }

  /** Whether no connection is left, nor one that is held. */
  get empty(): boolean {
    return this.#hold.size === 0 && this.tracker.size === 0;
  }

  /** Resolves when it is empty. */
  async whenEmpty(): Promise<void> {
    while (!this.empty) {
      await this.#hold.whenEmpty();
      await this.tracker.whenEmpty();
    }
  }

  /** Whether connections are made or taken under this SPIFFE id. */
  speaksAs(identity: string): boolean {
    for (const own of this.#identities.values()) if (own === identity) return true;
    return false;
  }

  /** SPIFFE id of the pod: trust domain of its record, the rest as the CNI agent told it (spec/ztunnel.md §3.5). */
  identityOf(record: Workload): string {
    let identity = this.#identities.get(record.trustDomain);
    if (identity === undefined) {
      const { namespace, serviceAccount } = this.info;
      identity = formatIdentity({ trustDomain: record.trustDomain, namespace, serviceAccount });
      this.#identities.set(record.trustDomain, identity);
    }
    return identity;
  }
}
