/** A copy of a request for another cluster, whose answer nobody waits for (Envoy: request_mirror_policies). */
import type { ClientStream, RequestHead } from "../http/mod.ts";
import type { HostState } from "./cluster/mod.ts";
import type { WaypointPlane } from "./plane.ts";
import type { RequestBody } from "./request_body.ts";
import { mirroredHead } from "./request_headers.ts";
import type { Mirror } from "./snapshot/mod.ts";
import type { StreamInfo } from "./stream_info.ts";
import { poolLimits } from "./targets.ts";
import type { UpstreamListener } from "./upstream/mod.ts";

/** Bytes that may wait for a mirror that does not keep up; then it is given up. */
const BACKLOG_LIMIT: number = 1 << 20;
/** A mirror that has not answered by then is given up, ms. */
const LIFETIME_MS = 60_000;
/** Fractions are out of this. */
const MILLION = 1_000_000;
const EMPTY = new Uint8Array(0);

/**
 * Begins the mirrors of a request, as far as their share and their hosts allow.
 * @param body what of it has come; undefined: it has none
 */
export function startMirrors(
  plane: WaypointPlane,
  mirrors: readonly Mirror[],
  head: RequestHead,
  info: StreamInfo,
  body: RequestBody | undefined,
): MirroredRequest[] {
  const started: MirroredRequest[] = [];
  for (const mirror of mirrors) {
    if (Math.random() * MILLION >= mirror.fraction) continue;
    const copy = mirroredHead(head, mirror.shadowHost, plane.ownIp);
    const request = MirroredRequest.start(plane, mirror.cluster, copy, info, body === undefined);
    if (request === undefined) continue;
    started.push(request);
    for (const chunk of body?.chunks ?? []) request.data(chunk, false);
    if (body?.ended === true) request.data(EMPTY, true);
  }
  return started;
}

export class MirroredRequest implements UpstreamListener {
  #stream: ClientStream | undefined = undefined;
  #backlog = 0;
  #over = false;
  readonly #host: HostState;
  readonly #timer: Timer;

  private constructor(host: HostState) {
    this.#host = host;
    host.activeRequests++;
    this.#timer = setTimeout(() => this.cancel(), LIFETIME_MS);
    this.#timer.unref();
  }

  /** undefined: the cluster does not exist or has no healthy host; the request itself is not concerned. */
  static start(
    plane: WaypointPlane,
    clusterName: string,
    head: RequestHead,
    info: StreamInfo,
    endStream: boolean,
  ): MirroredRequest | undefined {
    const balanced = plane.clusters.get(clusterName);
    const host = balanced?.pick({
      originalDestination: info.downstream.originalDestination,
      authority: head.authority,
    });
    if (balanced === undefined || host === undefined) return undefined;
    const { cluster } = balanced;
    const target = plane.targets.of(cluster, host, {
      authority: undefined,
      source: info.downstream.remote,
      destination: info.downstream.local,
    });
    if (target === undefined) return undefined;
    const mirror = new MirroredRequest(host);
    const http2 = cluster.protocol === "http2" || cluster.protocol === "downstream" && head.protocol === "HTTP/2";
    const pool = plane.pools.pool(cluster.name, target, http2 ? "http2" : "http1", poolLimits(cluster));
    mirror.#stream = pool.request(head, endStream, mirror);
    return mirror;
  }

  data(chunk: Uint8Array, endStream: boolean): void {
    if (this.#over || this.#stream === undefined) return;
    if (this.#stream.sendData(chunk, endStream)) this.#backlog = 0;
    else if ((this.#backlog += chunk.length) > BACKLOG_LIMIT) this.cancel();
  }

  cancel(): void {
    if (this.#over) return;
    this.#finish();
    this.#stream?.reset();
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#host.activeRequests--;
    clearTimeout(this.#timer);
  }

  onInformational(): void {
    // Nobody waits for it.
  }

  onHeaders(_head: unknown, endStream: boolean): void {
    if (endStream) this.#finish();
  }

  onData(chunk: Uint8Array, endStream: boolean): void {
    this.#stream?.consume(chunk.length);
    if (endStream) this.#finish();
  }

  onTrailers(): void {
    this.#finish();
  }

  onWritable(): void {
    this.#backlog = 0;
  }

  onReset(): void {
    this.#finish();
  }
}
