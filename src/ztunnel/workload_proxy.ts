import { type AcceptedPeer, connectFailure, HboneServer, Pool } from "../hbone/mod.ts";
import type { WorkloadCertificate } from "../identity/mod.ts";
import { listenTcp, type TcpListener } from "../linux/mod.ts";
import { type MeshState, unknownLocalWorkload } from "../mesh/mod.ts";
import { formatAddress, type SocketAddress } from "../net/address.ts";
import { acceptHandlers, adoptListener, CONNECT_TIMEOUT_MS, finishListening } from "../net/tcp.ts";
import { CONNECTION_DRAIN, type GoOn, type PlainRelay } from "./connection.ts";
import { callerOf } from "./data_plane.ts";
import { type HoldingPod, MOST_CONNECTIONS } from "./drain_report.ts";
import { DnsProxy } from "./dns/mod.ts";
import { acceptRequest } from "./inbound_hbone.ts";
import { acceptPlaintext, continuePlaintext } from "./inbound_plaintext.ts";
import type { Moved } from "./mesh_source.ts";
import { acceptOutbound, continueOutbound } from "./outbound.ts";
import { serveSocks5 } from "./socks5.ts";
import type { WorkloadContext } from "./workload_context.ts";

/** Accept queue of listeners (spec/ztunnel.md §2.5). */
const BACKLOG = 128;

type Component = "inbound" | "inbound plaintext" | "outbound" | "socks5";

/** Which listeners a workload gets: a captured pod all, the proxy itself only the first. */
export type Listeners = "all" | "inbound";

/** The proxy of one workload: its listeners, its tunnels, its connections. */
export class WorkloadProxy {
  readonly context: WorkloadContext;
  /** undefined with ENABLE_PROXY=false, where only names are served. */
  readonly #inbound: HboneServer | undefined;
  readonly #dns: DnsProxy | undefined;
  readonly #listeners: { stop(force: false): void }[] = [];
  readonly #pool: Pool;
  readonly #unsubscribe: () => void;

  /** Opens the listeners. Throws SystemError naming the call; nothing stays open then. */
  constructor(context: WorkloadContext, which: Listeners) {
    this.context = context;
    const { plane } = context;
    const { config } = plane;
    const opened: TcpListener[] = [];
    const open = (component: Component, address: SocketAddress): TcpListener => {
      const listener = openListener(context, component, address);
      opened.push(listener);
      return listener;
    };
    let dns: DnsProxy | undefined;
    let inbound: TcpListener | undefined, plaintext: TcpListener | undefined, outbound: TcpListener | undefined;
    let socks5: TcpListener | undefined;
    try {
      if (which === "all" && plane.dns !== undefined) dns = new DnsProxy(context, plane.dns);
      if (config.proxy) inbound = open("inbound", config.inboundAddress);
      if (which === "all" && config.proxy) {
        plaintext = open("inbound plaintext", config.inboundPlaintextAddress);
        outbound = open("outbound", config.outboundAddress);
        if (config.socks5Address !== undefined) socks5 = open("socks5", config.socks5Address);
      }
    } catch (error) {
      for (const { fd } of opened) adoptListener<undefined>(fd, { data() {} }).stop(true);
      dns?.stop();
      context.close();
      throw error;
    }
    this.#dns = dns;
    context.preserveSource = which === "all" && inbound?.transparent === true;
    this.#pool = new Pool({
      maxStreamsPerConnection: config.poolMaxStreamsPerConnection,
      unusedReleaseTimeout: config.poolUnusedReleaseTimeout,
      waitTimeout: CONNECT_TIMEOUT_MS,
    }, (target, owner, done, failed) => plane.dialTunnel(target, context.dialOptions, owner, done, failed));

    this.#inbound = inbound && this.#serveInbound(inbound);
    const { sockets } = plane.traffic;
    if (plaintext !== undefined) {
      this.#keep(adoptListener(
        plaintext.fd,
        acceptHandlers((endpoint) => {
          sockets.destination.value++;
          acceptPlaintext(context, endpoint);
        }, () => void sockets.destination.value--),
      ));
    }
    if (outbound !== undefined) {
      this.#keep(adoptListener(
        outbound.fd,
        acceptHandlers((endpoint) => {
          sockets.source.value++;
          acceptOutbound(context, this.#pool, endpoint);
        }, () => void sockets.source.value--),
      ));
    }
    if (socks5 !== undefined) {
      this.#keep(serveSocks5(context, this.#pool, dns, socks5.fd, () => void sockets.source.value--));
    }
    this.#unsubscribe = plane.mesh.subscribe((mesh, moved) => this.#meshChanged(mesh, moved));
  }

  /**
   * Takes no new work and lets running connections end; resolves when the last one has. What waits to be accepted is still
   * served, and policies that change still cut what they no longer allow.
   */
  async drain(): Promise<void> {
    const names = this.#dns?.drain();
    const last = this.#listeners.map(finishListening);
    this.#inbound?.drain();
    this.#pool.drain();
    await Promise.all(last);
    while (this.#busy) {
      await this.context.whenEmpty();
      await this.#inbound?.whenEmpty();
    }
    await names;
    this.#unsubscribe();
    this.#pool.close();
    this.context.close();
  }

  /** How to go on with a relay of the process before us; or why not. */
  continueRelay(relay: PlainRelay): GoOn | string {
    if (relay.direction === "inbound") return continuePlaintext(this.context, relay);
    return continueOutbound(this.context, this.#pool, relay);
  }

  /** A tunnel may bring connections as long as it is there, and a connection may outlive its tunnel. */
  get #busy(): boolean {
    return !this.context.empty || this.#inbound?.empty === false;
  }

  /** What a drain still waits for. */
  get holding(): HoldingPod {
    const { info, tracker, held } = this.context;
    const pod = `${info.namespace}/${info.name}`;
    return {
      pod,
      connections: tracker.size,
      waiting: held + (this.#inbound?.handshakes ?? 0),
      questions: this.#dns?.open ?? 0,
      tunnels: this.#inbound?.size ?? 0,
      oldest: tracker.oldest(MOST_CONNECTIONS).map((connection) => ({
        pod,
        direction: connection.direction,
        summary: connection.summary(),
        startedAt: connection.started,
      })),
    };
  }

  /** From now on connections go over new tunnels, made with the certificate of now. What runs, runs on. */
  renewTunnels(): void {
    this.#inbound?.retire();
    this.#pool.closeDestinations(() => true);
  }

  /** Cuts every connection now, for the reason given. */
  stop(reason: string): void {
    this.#stopListening();
    this.context.close();
    this.context.tracker.cutAll(connectFailure(reason, "-"));
    this.#dns?.stop();
    this.#inbound?.close();
    this.#pool.close();
  }

  /** Re-asks the policies about what runs; lets go of tunnels to addresses that are somebody else's now. */
  #meshChanged(mesh: MeshState, moved: Moved | undefined): void {
    const { context } = this;
    context.tracker.recheck(mesh, mesh.localWorkload(context.info));
    if (moved !== undefined) this.#pool.closeDestinations(moved);
  }

  #stopListening(): void {
    this.#unsubscribe();
    this.#inbound?.stopListening();
    for (const listener of this.#listeners.splice(0)) listener.stop(false);
  }

  #keep(listener: { stop(force: false): void }): void {
    this.#listeners.push(listener);
  }

  #serveInbound(listener: TcpListener): HboneServer {
    const { context } = this;
    const { plane } = context;
    const { sockets } = plane.traffic;
    const { streamWindow, connectionWindow, frameSize } = plane.config;
    return new HboneServer(listener.fd, {
      tlsPolicy: plane.tlsPolicy,
      settings: { streamWindow, connectionWindow, frameSize },
      trust: plane.tunnel.trust,
      certificate: () => currentCertificate(context),
      onRequest: (transport, peer: AcceptedPeer, stream, headers, endStream) =>
        acceptRequest(context, transport, peer, stream, headers, endStream),
      onRefused: (peer, local, error) =>
        plane.accessLog.connectionFailed(peer, local, "inbound", error, {
          source: callerOf(plane, peer),
          destination: plane.mesh.current.localWorkload(context.info),
        }),
      onSocketOpened: () => void sockets.destination.value++,
      onSocketClosed: () => void sockets.destination.value--,
    });
  }
}

function openListener(context: WorkloadContext, component: Component, address: SocketAddress): TcpListener {
  const { plane, namespace, mark } = context;
  const { config, logs } = plane;
  const inPod = namespace !== undefined;
  const original = config.requireOriginalSource;
  const captured = component === "outbound" || component === "inbound plaintext";
  const listener = listenTcp({
    ...(inPod ? { namespace } : {}),
    ...(inPod && mark !== undefined ? { mark } : {}),
    ...(captured && plane.keepAlive !== undefined ? { keepAlive: plane.keepAlive } : {}),
    ...(captured && plane.userTimeoutMs !== undefined ? { userTimeoutMs: plane.userTimeoutMs } : {}),
    address,
    backlog: BACKLOG,
    reusePort: inPod && config.inpodPortReuse,
    reuseAddress: !(inPod && config.inpodPortReuse),
    transparent: context.self || original === false ? "off" : original === true ? "require" : "try",
    noDelay: true,
  });
  const scope = {
    "inbound": logs.inbound,
    "inbound plaintext": logs.inboundPlaintext,
    "outbound": logs.outbound,
    "socks5": logs.socks5,
  }[component];
  scope.info("listener established", [
    ["address", { display: formatAddress(listener.address) }],
    ["component", component],
    ["transparent", listener.transparent],
  ], context.spans);
  if (listener.spread !== undefined) {
    scope.warn(
      "an upgrade may break connections: the kernel does not let the newer of two processes take all of them",
      [
        ["address", { display: formatAddress(listener.address) }],
        ["error", listener.spread.message],
      ],
      context.spans,
    );
  }
  return listener;
}

/** The certificate of a workload for its next handshake; rejects with the text of the access log. */
function currentCertificate(context: WorkloadContext): WorkloadCertificate | Promise<WorkloadCertificate> {
  const { plane, info } = context;
  const known = plane.mesh.current.localWorkload(info);
  if (known !== undefined) {
    const certificate = plane.certificates.peek(context.identityOf(known));
    if (certificate !== undefined) return certificate;
  }
  const { promise, resolve, reject } = Promise.withResolvers<WorkloadCertificate>();
  const refuse = (error: string) => reject(new Error(error));
  const handshake = { abort: () => refuse(CONNECTION_DRAIN) };
  context.localWorkload(handshake, (record) => {
    if (record === undefined) refuse(unknownLocalWorkload(info));
    else context.certificate(handshake, context.identityOf(record), resolve, refuse);
  }, refuse);
  return promise;
}
