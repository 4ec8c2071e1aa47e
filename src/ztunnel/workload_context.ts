import { formatIdentity } from "../identity/mod.ts";
import { SocketStock } from "../linux/mod.ts";
import type { Workload, WorkloadInfo } from "../mesh/mod.ts";
import type { Endpoint } from "../net/endpoint.ts";
import type { DialOptions } from "../net/tcp.ts";
import type { DataPlane } from "./data_plane.ts";
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
  readonly tracker: ConnectionTracker;
  readonly dialOptions: DialOptions;
  /** Whether the kernel lets us use a client's address toward the application; known once the listeners are there. */
  preserveSource = false;
  #stock: SocketStock | undefined = undefined;
  /** Connections that wait for the pod's own record. */
  readonly #undecided = new Set<Endpoint>();
  #closed = false;
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
    this.tracker = new ConnectionTracker(plane.config.idleTimeout);
    this.dialOptions = {
      ...(namespace === undefined ? {} : { stock: this.#stock = new SocketStock(namespace) }),
      ...(mark === undefined ? {} : { mark }),
      ...(keepAlive === undefined ? {} : { keepAlive }),
      ...(userTimeoutMs === undefined ? {} : { userTimeoutMs }),
    };
  }

  /** To be called when the workload is gone: nothing may be done in its name, or in its namespace, from here on. */
  close(): void {
    this.#closed = true;
    for (const connection of this.#undecided) connection.abort();
    this.#undecided.clear();
    this.tracker.close();
    this.#stock?.close();
  }

  /**
   * The pod's own record for one of its connections: at once where it is known, else when it comes, `undefined` after
   * 5 s. A connection whose pod goes meanwhile is aborted and never hears.
   */
  localWorkload(connection: Endpoint, found: (record: Workload | undefined) => void): void {
    if (this.#closed) {
      connection.abort();
      return;
    }
    const { mesh } = this.plane;
    const known = mesh.current.localWorkload(this.info);
    if (known !== undefined) {
      found(known);
      return;
    }
    this.#undecided.add(connection);
    mesh.localWorkload(this.info, (record) => {
      if (this.#undecided.delete(connection)) found(record);
    });
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
