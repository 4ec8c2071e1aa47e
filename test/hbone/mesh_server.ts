// An HBONE server as a pod has one, on loopback, and what it heard.
import { type AcceptedPeer, HboneServer, StreamEndpoint, type StreamUser } from "../../src/hbone/mod.ts";
import type { HeaderList, Http2Stream } from "../../src/http2/mod.ts";
import type { WorkloadCertificate } from "../../src/identity/mod.ts";
import { listenTcp } from "../../src/linux/mod.ts";
import { DEFAULT_TLS_POLICY, type PeerTrust } from "../../src/tls/mod.ts";
import { SETTINGS } from "./plain_transport.ts";

/** A request of a peer whose certificate was good. */
export interface MeshRequest {
  readonly peer: AcceptedPeer;
  readonly stream: Http2Stream<StreamUser>;
  readonly endpoint: StreamEndpoint;
  readonly headers: HeaderList;
  readonly endStream: boolean;
}

export class MeshServer {
  readonly requests: MeshRequest[] = [];
  readonly refusals: string[] = [];
  readonly port: number;
  readonly server: HboneServer;
  /** Accepted sockets that are open. */
  sockets = 0;

  constructor(
    certificate: WorkloadCertificate | (() => WorkloadCertificate | Promise<WorkloadCertificate>),
    answer: (request: MeshRequest) => void,
    trust?: PeerTrust,
  ) {
    const listener = listenTcp({
      address: { ip: "127.0.0.1", port: 0 },
      backlog: 128,
      reusePort: false,
      reuseAddress: true,
      transparent: "off",
      noDelay: true,
    });
    this.port = listener.address.port;
    this.server = new HboneServer(listener.fd, {
      tlsPolicy: DEFAULT_TLS_POLICY,
      settings: SETTINGS,
      trust,
      certificate: () => typeof certificate === "function" ? certificate() : certificate,
      onRequest: (_transport, peer, stream, headers, endStream) => {
        const endpoint = new StreamEndpoint(undefined);
        stream.data = endpoint;
        endpoint.bind(stream, undefined);
        if (endStream) endpoint.onData(new Uint8Array(0), true);
        const request = { peer, stream, endpoint, headers, endStream };
        this.requests.push(request);
        answer(request);
      },
      onRefused: (_peer, _local, error) => void this.refusals.push(error),
      onSocketOpened: () => void this.sockets++,
      onSocketClosed: () => void this.sockets--,
    });
  }

  stop(): void {
    this.server.close();
  }
}
