/** What goes wrong for many questions at a time, told once: the log has a line of it, not one for each question. */
import type { UpstreamObserver, UpstreamProtocol } from "../../dns/mod.ts";
import { unknownLocalWorkload, type WorkloadInfo } from "../../mesh/mod.ts";
import { formatAddress, type SocketAddress } from "../../net/address.ts";
import type { LogScope } from "../../telemetry/mod.ts";

/** The same trouble is told again after this, if it goes on. */
const REPEAT_MS = 60_000;

/** One name server over UDP or over TCP. */
interface Server {
  /** Answers so far. */
  answers: number;
  warnedAt: number;
  /** The log says that it does not answer. */
  away: boolean;
}

/** For all pods of the process: name servers that stop answering, pods that cannot be answered. */
export class DnsReports implements UpstreamObserver {
  readonly #log: LogScope;
  readonly #now: () => number;
  /** As many as resolv.conf has, twice. */
  readonly #servers = new Map<string, Server>();
  #unknownWarnedAt = -Infinity;
  /** Questions of unknown pods since the last line. */
  #unknown = 0;

  /** @param now milliseconds, never going back */
  constructor(log: LogScope, now: () => number = () => performance.now()) {
    this.#log = log;
    this.#now = now;
  }

  asking(server: SocketAddress, protocol: UpstreamProtocol): number {
    return this.#server(server, protocol).answers;
  }

  answered(server: SocketAddress, protocol: UpstreamProtocol): void {
    const known = this.#server(server, protocol);
    known.answers++;
    if (!known.away) return;
    known.away = false;
    this.#log.info("name server answers again", fieldsOf(server, protocol));
  }

  unanswered(server: SocketAddress, protocol: UpstreamProtocol, reason: string, asking: number): void {
    const known = this.#server(server, protocol);
    // It has answered others meanwhile: it is there, and only this question is too much for it.
    if (known.answers !== asking) return;
    const now = this.#now();
    if (now - known.warnedAt < REPEAT_MS) return;
    known.warnedAt = now;
    known.away = true;
    this.#log.warn("name server does not answer", [...fieldsOf(server, protocol), ["error", reason]]);
  }

  /** A question of a pod of which there is no record: it is answered SERVFAIL. */
  unknownWorkload(info: WorkloadInfo): void {
    this.#unknown++;
    const now = this.#now();
    if (now - this.#unknownWarnedAt < REPEAT_MS) return;
    this.#log.warn("names cannot be resolved for a workload without a record", [
      ["src.workload", info.name],
      ["src.namespace", info.namespace],
      ["error", unknownLocalWorkload(info)],
      ["queries", this.#unknown],
    ]);
    this.#unknownWarnedAt = now;
    this.#unknown = 0;
  }

  #server({ ip, port }: SocketAddress, protocol: UpstreamProtocol): Server {
    const key = `${protocol} ${ip} ${port}`;
    let server = this.#servers.get(key);
    if (server === undefined) {
      this.#servers.set(key, server = { answers: 0, warnedAt: -Infinity, away: false });
    }
    return server;
  }
}

function fieldsOf(server: SocketAddress, protocol: UpstreamProtocol) {
  return [["server", { display: formatAddress(server) }], ["protocol", protocol]] as const;
}
