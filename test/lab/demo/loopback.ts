/**
 * The demo where network namespaces are forbidden: one proxy in dedicated mode on loopback, reached through SOCKS5. It
 * carries the call as HBONE to itself: the same code, without redirection and without a second node.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { stringify } from "yaml";
import { ambientBinary, type LogLine, parseLogLine, parseMetrics, STATS_PORT, total } from "../mesh/mod.ts";
import { eventually, LabProcess, makeScratchDirectory, removePath } from "../topology/mod.ts";
import { type Facts, require } from "./fact.ts";

const SOCKS_PORT = 15080;
const READINESS = "http://127.0.0.1:15021/healthz/ready";
/** The mesh's only workload; its address is loopback, but not the one everything else uses. */
const WORKLOAD_IP = "127.0.0.2";
const WEB_PORT = 18080;
const IDENTITY = "spiffe://cluster.local/ns/demo/sa/local";

export async function checkLoopback(facts: Facts): Promise<void> {
  const directory = makeScratchDirectory();
  const configuration = join(directory, "mesh.yaml");
  const workload = {
    uid: "Kubernetes//Pod/demo/local",
    name: "local",
    namespace: "demo",
    serviceAccount: "local",
    trustDomain: "cluster.local",
    workloadIps: [WORKLOAD_IP, "127.0.0.1"],
    protocol: "HBONE",
    services: {},
  };
  writeFileSync(configuration, stringify({ workloads: [workload], services: [], policies: [] }));
  const web = new LabProcess([process.execPath, join(import.meta.dir, "web.ts"), `${WEB_PORT}`]);
  const access: LogLine[] = [];
  const proxy = new LabProcess(
    [ambientBinary(), "--mode=ztunnel", "--config", configuration, "--ca-dir", join(directory, "ca")],
    {
      environment: {
        PROXY_MODE: "dedicated",
        PROXY_WORKLOAD_INFO: "demo/local/local",
        UNSTABLE_ENABLE_SOCKS5: "true",
        CA_ADDRESS: "embedded",
        XDS_ADDRESS: "",
      },
      onLine: (text) => {
        const line = parseLogLine(text);
        if (line?.scope === "access") access.push(line);
      },
    },
  );
  try {
    await facts.tell("the proxy starts without any privilege", async () => {
      await eventually("readiness", async () => {
        if (proxy.exitCode !== undefined) return true;
        return (await fetch(READINESS)).status === 200;
      }, 15_000);
      require(proxy.exitCode === undefined, proxy.lines.slice(-5).join("\n"));
      return "";
    });
    await facts.tell("SOCKS5 → proxy → HBONE → proxy → web", async () => {
      const answer = await socksGet({ ip: WORKLOAD_IP, port: WEB_PORT });
      require(answer.startsWith("HTTP/1.1 200") || answer.startsWith("HTTP/1.0 200"), answer.slice(0, 80));
      const line = await eventually(
        "the access log line",
        () =>
          access.find((entry) => entry.message === "connection complete" && entry.fields["direction"] === "inbound"),
      );
      require(line.fields["src.identity"] === IDENTITY, `src.identity=${line.fields["src.identity"]}`);
      require(line.fields["dst.hbone_addr"] === `${WORKLOAD_IP}:${WEB_PORT}`, JSON.stringify(line.fields));
      return `200, encrypted, ${IDENTITY} → ${line.fields["dst.identity"]}`;
    });
    await facts.tell("the proxy's counters", async () => {
      const samples = parseMetrics(await (await fetch(`http://127.0.0.1:${STATS_PORT}/metrics`)).text());
      const opened = total(samples, "istio_tcp_connections_opened_total", { connection_security_policy: "mutual_tls" });
      require(opened >= 2, `opened ${opened}`);
      return `connections opened ${opened}`;
    });
  } finally {
    await Promise.all([proxy.stop(), web.stop()]);
    removePath(directory);
  }
}

/** One GET through the proxy's SOCKS5 port (RFC 1928, no authentication). @returns the whole answer */
async function socksGet(to: { ip: string; port: number }): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const timer = setTimeout(() => reject(new Error("no answer within 10 s")), 10_000);
  let stage: "method" | "connect" | "answer" = "method";
  let answer = "";
  const socket = await Bun.connect<undefined>({
    hostname: "127.0.0.1",
    port: SOCKS_PORT,
    socket: {
      data(socket, chunk) {
        if (stage === "method") {
          stage = "connect";
          const address = to.ip.split(".").map(Number);
          socket.write(new Uint8Array([5, 1, 0, 1, ...address, to.port >> 8, to.port & 255]));
        } else if (stage === "connect") {
          if (chunk[1] !== 0) return reject(new Error(`SOCKS5 reply code ${chunk[1]}`));
          stage = "answer";
          socket.write(`GET / HTTP/1.0\r\nHost: web\r\nConnection: close\r\n\r\n`);
        } else {
          answer += new TextDecoder().decode(chunk);
        }
      },
      close: () => resolve(answer),
      error: (_, error) => reject(error),
    },
  });
  socket.write(new Uint8Array([5, 1, 0]));
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    socket.terminate();
  }
}
