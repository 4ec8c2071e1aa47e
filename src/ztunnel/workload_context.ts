import { formatIdentity } from "../identity/mod.ts";
import { SocketStock } from "../linux/mod.ts";
import type { Workload, WorkloadInfo } from "../mesh/mod.ts";
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

  /** To be called when the workload is gone. */
  close(): void {
    this.tracker.close();
    this.#stock?.close();
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
