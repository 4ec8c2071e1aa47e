/** One client connection of an HTTP chain: every request on it becomes an exchange. */
import {
  dateField,
  type HttpServerEndpoint,
  type RequestHead,
  type RequestListener,
  serveHttp1,
  serveHttp2,
  type ServerConnectionHandler,
  type ServerStream,
} from "../http/mod.ts";
import type { CompiledHttpChain } from "./configuration.ts";
import { Exchange } from "./exchange.ts";
import type { WaypointPlane } from "./plane.ts";
import { type DownstreamInfo, StreamInfo } from "./stream_info.ts";

export class HttpConnection implements ServerConnectionHandler {
  readonly endpoint: HttpServerEndpoint;
  readonly #plane: WaypointPlane;
  readonly #downstream: DownstreamInfo;
  #chain: CompiledHttpChain;

  constructor(
    plane: WaypointPlane,
    chain: CompiledHttpChain,
    downstream: DownstreamInfo,
    version: "http1" | "http2",
  ) {
    this.#plane = plane;
    this.#chain = chain;
    this.#downstream = downstream;
    const { options } = chain.chain;
    const common = {
      maxHeaderBytes: options.maxRequestHeaderBytes,
      maxHeaderCount: options.maxHeaderCount,
      idleTimeoutMs: options.idleTimeoutMs,
      headersTimeoutMs: options.requestHeadersTimeoutMs,
      answerContinue: !options.proxy100Continue,
      serverName: options.serverName,
    };
    this.endpoint = version === "http1"
      ? serveHttp1({ ...common, acceptHttp10: options.acceptHttp10, keepCase: options.preserveHeaderCase }, this)
      : serveHttp2(common, this);
  }

  /** Takes no more requests than those that run. */
  drain(): void {
    this.endpoint.drain();
  }

  onRequest(stream: ServerStream, head: RequestHead, endStream: boolean): RequestListener {
    const chain = this.#current();
    if (chain === undefined) {
      // The chain was removed: this connection has no place any more. The client may come back by a new one.
      stream.closeAfter();
      stream.respond({
        status: 503,
        fields: [["content-length", "0"], dateField(), ["server", this.#chain.chain.options.serverName]],
        protocol: head.protocol,
        upgrade: undefined,
        wireBytes: 0,
      }, true);
      return discarding(stream);
    }
    const exchange = new Exchange(this.#plane, chain, stream, this.#downstream);
    exchange.start(head, endStream);
    return exchange;
  }

  onRefused(status: number, details: string, head: RequestHead | undefined): void {
    const info = new StreamInfo(this.#downstream);
    info.request = head;
    info.responseCode = status;
    info.responseCodeDetails = details;
    if (details !== "missing_host_header") info.flag("DPE"); // the connection manager's finding, not the codec's
    info.endedAt = performance.now();
    this.#chain.record(info);
  }

  onConnectionClosed(): void {
    // Whoever joined it hears of that from the relay.
  }

  /** The chain in its newest form: requests on old connections follow a changed configuration. */
  #current(): CompiledHttpChain | undefined {
    const newest = this.#plane.configuration?.chain(this.#chain.chain.name);
    if (newest?.kind !== "http") return undefined;
    this.#chain = newest;
    return newest;
  }
}

/** Takes the rest of a request that was answered already. */
function discarding(stream: ServerStream): RequestListener {
  return {
    onData: (chunk) => stream.consume(chunk.length),
    onTrailers() {},
    onWritable() {},
    onReset() {},
  };
}
