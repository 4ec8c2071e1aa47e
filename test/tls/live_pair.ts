import { socketPair, SystemError } from "../../src/linux/mod.ts";
import type { WorkloadCertificate } from "../../src/identity/mod.ts";
import { clientContext, DEFAULT_TLS_POLICY, serverContext } from "../../src/tls/mod.ts";

/** Two ends of a TLS connection whose handshake is over. */
export interface LivePair {
  readonly server: Bun.Socket<unknown>;
  readonly client: Bun.Socket<unknown>;
  /** The codes of what the runtime had against the peers. */
  readonly errors: readonly (string | undefined)[];
  close(): void;
}

/** How long a handshake may take before the test fails; ms. */
const DEADLINE_MS = 20_000;

/** Joins two ends on a socket pair, as tunnels inside tunnels are, or over loopback, as all others. */
export async function livePair(
  server: WorkloadCertificate,
  client: WorkloadCertificate,
  over: "loopback" | "socket pair" = "loopback",
): Promise<LivePair> {
  const [atServer, atClient] = [new End(), new End()];
  const upgrade = {
    open(socket: Bun.Socket<unknown>) {
      socket.upgradeTLS({
        isServer: true,
        data: undefined,
        tls: serverContext(server, DEFAULT_TLS_POLICY),
        socket: atServer.handlers,
      } as unknown as Bun.TLSUpgradeOptions<unknown>);
    },
    drain() {},
  };
  const tls = clientContext(client, DEFAULT_TLS_POLICY);
  let close = () => {};
  if (over === "loopback") {
    const listener = Bun.listen<unknown>({ hostname: "127.0.0.1", port: 0, allowHalfOpen: true, socket: upgrade });
    close = () => listener.stop(true);
    await Bun.connect<unknown>({ hostname: "127.0.0.1", port: listener.port, tls, socket: atClient.handlers });
  } else {
    const pair = socketPair();
    if (pair instanceof SystemError) throw pair;
    const adopt = (fd: number, more: object) =>
      Bun.connect<unknown>(
        { fd, allowHalfOpen: true, ...more } as unknown as Bun.TCPSocketConnectOptions<unknown>,
      );
    await Promise.all([
      adopt(pair[0], { socket: { ...upgrade, data: undefined } }),
      adopt(pair[1], { tls, socket: atClient.handlers }),
    ]);
  }
  const [a, b] = await Promise.all([atServer.ready, atClient.ready]);
  return {
    server: a,
    client: b,
    errors: [atServer.error, atClient.error],
    close() {
      a.terminate();
      b.terminate();
      close();
    },
  };
}

class End {
  error: string | undefined = undefined;
  readonly ready: Promise<Bun.Socket<unknown>>;
  readonly handlers: Bun.SocketHandler<unknown>;

  constructor() {
    const { promise, resolve, reject } = Promise.withResolvers<Bun.Socket<unknown>>();
    const late = setTimeout(() => reject(new Error("no handshake")), DEADLINE_MS);
    this.ready = promise.finally(() => clearTimeout(late));
    this.handlers = {
      handshake: (socket, _ok, error) => {
        this.error = error === null ? undefined : (error as { code?: string }).code;
        resolve(socket);
      },
      close: () => reject(new Error("closed before the handshake")),
      data() {},
      drain() {},
    };
  }
}
