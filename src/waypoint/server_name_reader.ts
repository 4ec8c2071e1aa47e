/** Envoy's tls_inspector: the server name of a client's TLS, read from its first bytes without consuming them. */
import type { Endpoint } from "../net/endpoint.ts";
import { FirstBytes } from "../net/first_bytes.ts";
import { ClientHelloReader, type ServerName } from "../tls/client_hello.ts";

/** Stands in for the upstream until the server name is known, or that there is none, or that none will be known. */
export class ServerNameReader extends FirstBytes<ServerName> {
  readonly #hello = new ClientHelloReader();
  readonly #next: (serverName: ServerName) => Endpoint;

  /**
   * @param next gives the endpoint that takes over, with all bytes
   * @param timeoutMs for how long a client that says nothing, or not all of its ClientHello, is waited for; 0: no limit
   */
  constructor(next: (serverName: ServerName) => Endpoint, timeoutMs: number) {
    super(timeoutMs);
    this.#next = next;
  }

  protected override look(chunk: Uint8Array): ServerName | undefined {
    return this.#hello.receive(chunk);
  }

  protected override lookNoMore(): ServerName {
    return this.#hello.unfinished;
  }

  protected override detected(serverName: ServerName): Endpoint {
    return this.#next(serverName);
  }
}
