/** The live picture in the terminal: who calls whom, how, and how fast, from the proxies' own access logs. */
import process from "node:process";
import type { LogLine } from "../mesh/mod.ts";
import type { Scene } from "./scene.ts";
import { compose } from "./screen.ts";

/** One pair of caller and called. */
interface Edge {
  connections: number;
  refused: number;
  sent: number;
  received: number;
  lastError: string;
  security: string;
  latencies: number[];
}

/** Requests of one kind through the waypoint. */
interface RequestRow {
  readonly pods: Map<string, number>;
  count: number;
  lastStatus: number;
  latencies: number[];
}

/** Latencies kept for each edge. */
const WINDOW = 100;
const RECENT = 8;
const NOTES = 3;

/** What a proxy said beside its access log; both say the same of a file that both watch. */
interface Note {
  readonly text: string;
  readonly nodes: Set<string>;
}

export class View {
  readonly #scene: Scene;
  readonly #edges = new Map<string, Edge>();
  readonly #requests = new Map<string, RequestRow>();
  readonly #recent: string[] = [];
  readonly #notes: Note[] = [];
  readonly #names = new Map<string, string>();
  readonly #started = performance.now();

  constructor(scene: Scene) {
    this.#scene = scene;
    for (const pod of scene.lab.pods) this.#names.set(pod.ip, pod.name);
    scene.onAccess = (line, node) => this.#logged(line, node);
    scene.onLine = (line, node) => this.#noted(line, node);
  }

  /** A call's latency as the application measured it, milliseconds. */
  measured(from: string, to: string, ms: number): void {
    const { latencies } = this.#edge(from, to);
    latencies.push(ms);
    if (latencies.length > WINDOW) latencies.shift();
  }

  /** What came of a request to the shop. */
  asked(what: string, answer: { status: number; pod: string; ms: number }): void {
    const row = this.#requests.get(what) ?? { pods: new Map<string, number>(), count: 0, lastStatus: 0, latencies: [] };
    this.#requests.set(what, row);
    row.count++;
    row.lastStatus = answer.status;
    if (answer.pod !== "") row.pods.set(answer.pod, (row.pods.get(answer.pod) ?? 0) + 1);
    row.latencies.push(answer.ms);
    if (row.latencies.length > WINDOW) row.latencies.shift();
  }

  draw(hint: readonly string[]): void {
    const rows = [["caller", "called", "how", "connections", "refused", "bytes →", "bytes ←", "p50 ms"]];
    for (const [pair, edge] of this.#edges) {
      const [from = "", to = ""] = pair.split(">");
      rows.push([
        from,
        to,
        edge.security || "refused",
        `${edge.connections}`,
        `${edge.refused}`,
        `${edge.sent}`,
        `${edge.received}`,
        medianOf(edge.latencies),
      ]);
    }
    const requests = [["through the waypoint", "last", "requests", "shop-v1", "shop-v2", "p50 ms"]];
    for (const [what, row] of this.#requests) {
      const answered = ["shop-v1", "shop-v2"].map((pod) => `${row.pods.get(pod) ?? 0}`);
      requests.push([what, `${row.lastStatus}`, `${row.count}`, ...answered, medianOf(row.latencies)]);
    }
    const table = [...tableOf(rows, colour), ...tableOf(requests, (line) => line)];
    const seconds = ((performance.now() - this.#started) / 1000).toFixed(0);
    const notes = this.#notes.map(({ text, nodes }) => `${[...nodes].sort().join(", ")}  ${text}`);
    const { columns = Infinity, rows: height = Infinity } = process.stdout;
    const screen = compose({
      title: [
        bold(`ambient: two nodes, eight pods, two ztunnels, one waypoint, ${seconds} s`),
        `mail speaks first, wants an identity; outsider is not in the mesh; web is ${this.#scene.webProgram}`,
      ],
      table,
      log: { title: bold("access log"), entries: this.#recent },
      notes: { title: bold("proxies say"), entries: notes.length === 0 ? ["nothing since the start"] : notes },
      hints: hint,
    }, { columns, rows: height });
    const clear = process.stdout.isTTY ? "\x1b[H\x1b[2J" : "";
    process.stdout.write(`${clear}${screen.join("\n")}\n`);
  }

  #logged(line: LogLine, node: string): void {
    if (line.message === "connection opened") return;
    const { fields } = line;
    const from = fields["src.workload"] ?? this.#nameOf(fields["src.addr"]);
    const to = fields["dst.workload"] ?? this.#nameOf(fields["dst.addr"]);
    const identities = fields["src.identity"] === undefined
      ? "no identity"
      : `${fields["src.identity"]} → ${fields["dst.identity"]}`;
    const outcome = fields["error"] ?? `${fields["bytes_sent"]} out, ${fields["bytes_recv"]} in, ${fields["duration"]}`;
    this.#recent.push(`node ${node}  ${fields["direction"] ?? "?"}  ${from} → ${to}  ${outcome}  ${identities}`);
    if (this.#recent.length > RECENT) this.#recent.shift();
    // Each connection is counted once, at its destination, where everything ends.
    if (fields["direction"] !== "inbound") return;
    const edge = this.#edge(from, to);
    if (fields["error"] !== undefined) {
      edge.refused++;
      edge.lastError = fields["error"];
      return;
    }
    edge.connections++;
    edge.security = fields["src.identity"] === undefined ? "plaintext" : "encrypted";
    edge.sent += Number(fields["bytes_recv"] ?? 0);
    edge.received += Number(fields["bytes_sent"] ?? 0);
  }

  /** Keeps what is a warning or worse, and what tells that a mistake was mended. */
  #noted(line: LogLine, node: string): void {
    if (line.level !== "warn" && line.level !== "error" && line.message !== "local state loaded") return;
    const { at, error, ...others } = line.fields;
    const details = [at, error, ...Object.entries(others).map(([key, value]) => `${key}=${value}`)];
    // On a narrow screen the path of the lab's own directory would take the room of the reason.
    const text = [line.message, ...details.filter((detail) => detail !== undefined)].join("  ")
      .replaceAll(`${this.#scene.lab.directory}/`, "").replaceAll("\n", " ");
    const same = this.#notes.find((note) => note.text === text && !note.nodes.has(node));
    if (same !== undefined) {
      same.nodes.add(node);
      return;
    }
    this.#notes.push({ text, nodes: new Set([node]) });
    if (this.#notes.length > NOTES) this.#notes.shift();
  }

  #nameOf(address: string | undefined): string {
    const ip = address?.slice(0, address.lastIndexOf(":")) ?? "";
    return this.#names.get(ip) ?? address ?? "?";
  }

  #edge(from: string, to: string): Edge {
    const key = `${from}>${to}`;
    const edge = this.#edges.get(key) ?? {
      connections: 0,
      refused: 0,
      sent: 0,
      received: 0,
      lastError: "",
      security: "",
      latencies: [],
    };
    this.#edges.set(key, edge);
    return edge;
  }
}

/** Cells in columns; the first row is their names. */
function tableOf(rows: readonly (readonly string[])[], paint: (line: string) => string): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => [...(row[column] ?? "")].length)));
  return rows.map((row, index) => {
    const line = row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ");
    return index === 0 ? bold(line) : paint(line);
  });
}

function medianOf(latencies: readonly number[]): string {
  const sorted = latencies.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1]?.toFixed(2) ?? "–";
}

function bold(text: string): string {
  return process.stdout.isTTY ? `\x1b[1m${text}\x1b[0m` : text;
}

function colour(line: string): string {
  if (!process.stdout.isTTY) return line;
  const code = line.includes("encrypted") ? 32 : line.includes("plaintext") ? 33 : 31;
  return `\x1b[${code}m${line}\x1b[0m`;
}
