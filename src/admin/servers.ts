import { canonicalIp, formatAddress, isLoopback, type SocketAddress } from "../net/address.ts";
import { portTaken } from "../net/os_error.ts";
import type { AdminOptions, AdminServers } from "./options.ts";
import { readinessPage, WAYPOINT_NOT_READY, ZTUNNEL_NOT_READY } from "./readiness_page.ts";
import { textResponse } from "./text_response.ts";

/** Who asks. */
interface Asker {
  /** Takes the limit of silence off a request whose answer is long in coming. */
  wait(): void;
  /** Whether the request comes from this machine or pod. */
  readonly local: boolean;
}

type Handler = (request: Request, asker: Asker) => Response | Promise<Response>;
type Component = "readiness" | "admin" | "stats";

/**
 * Seconds a connection may be silent. The head of a request has limits of the runtime's own: 10 s (looked at every 4 s)
 * until its end, however slowly it comes, and 16 KiB, beyond which the answer is 431. A client that closes its half of
 * the connection before the answer is there gets none.
 */
const IDLE_SECONDS = 30;

interface Listening {
  readonly addresses: readonly SocketAddress[];
  readonly servers: readonly Bun.Server<undefined>[];
}

/** Throws with component and address when an address cannot be bound; then nothing stays open. */
function listen(component: Component, wanted: readonly SocketAddress[], handler: Handler): Listening {
  const servers: Bun.Server<undefined>[] = [];
  const addresses: SocketAddress[] = [];
  for (const address of wanted) {
    try {
      const server = Bun.serve({
        hostname: address.ip,
        port: address.port,
        idleTimeout: IDLE_SECONDS,
        // A listener of another process on the same port is an error, not company.
        reusePort: false,
        fetch: (request, server) =>
          handler(request, {
            wait: () => server.timeout(request, 0),
            get local() {
              const ip = canonicalIp(server.requestIP(request)?.address ?? "");
              return ip !== undefined && isLoopback(ip);
            },
          }),
        error: (error) => textResponse(500, `${error.message}\n`),
      });
      servers.push(server);
      addresses.push({ ip: address.ip, port: server.port ?? address.port });
    } catch (error) {
      for (const server of servers) server.stop(true);
      if ((error as { code?: unknown }).code === "EADDRINUSE") {
        throw new Error(`${component}: ${portTaken(address.port)}`);
      }
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`${component}: failed to bind to address ${formatAddress(address)}: ${reason}`);
    }
  }
  return { addresses, servers };
}

/** Makes a handler on its first request, so that a process nobody asks does not load what answers. */
function lazily(make: () => Promise<Handler>): Handler {
  let handler: Promise<Handler> | undefined;
  return async (request, asker) => await (await (handler ??= make()))(request, asker);
}

/**
 * Starts the three servers, readiness first. Throws when one cannot be bound, with its name and address; then none is
 * left open.
 */
export function startAdmin(options: AdminOptions): AdminServers {
  const started: Listening[] = [];
  const close = () => {
    for (const { servers } of started) {
      for (const server of servers) void server.stop();
    }
  };
  const start = (component: Component, addresses: readonly SocketAddress[], handler: Handler) => {
    try {
      const listening = listen(component, addresses, handler);
      started.push(listening);
      for (const address of listening.addresses) {
        options.logger.info(`${options.mode}::${component}`, "listener established", [
          ["address", { display: formatAddress(address) }],
          ["component", component],
        ]);
      }
      return listening.addresses;
    } catch (error) {
      close();
      throw error;
    }
  };
  return {
    readinessAddresses: start(
      "readiness",
      options.readinessAddresses,
      readinessPage(options.readiness, options.mode === "waypoint" ? WAYPOINT_NOT_READY : ZTUNNEL_NOT_READY),
    ),
    adminAddresses: start(
      "admin",
      options.adminAddresses,
      lazily(async () => {
        const answer = (await import("./admin_app.ts")).adminApp(options);
        return (request, { wait }) => answer(request, wait);
      }),
    ),
    statsAddresses: start(
      "stats",
      options.statsAddresses,
      lazily(async () => {
        const answer = (await import("./stats_app.ts")).statsApp(options);
        return (request, { local }) => answer(request, local);
      }),
    ),
    close,
  };
}
