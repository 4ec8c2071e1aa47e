/** The program: options as JSON in its first argument, commands on stdin, answers and events on stdout. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import type {
  Answers,
  Break,
  Command,
  CommandLine,
  PortSettings,
  ProgramOptions,
  PushSent,
  ResourceText,
} from "../protocol.ts";
import { Authority, type AuthorityText } from "./authority.ts";
import { CertificateService } from "./certificate_service.ts";
import { breakStream, Discovery } from "./discovery.ts";
import { Front } from "./front.ts";
import { generateMesh, isGenerated } from "./generated.ts";
import { tell } from "./output.ts";
import { Server } from "./server.ts";
import { defaults, type Settings } from "./settings.ts";
import { Store } from "./store.ts";

interface SavedState {
  readonly settings: Settings;
  readonly authority: AuthorityText;
  readonly pushes: number;
  readonly resources: readonly ResourceText[];
}

const options = JSON.parse(process.argv[2] ?? "{}") as ProgramOptions;
const statePath = join(options.directory, "state.json");
const saved = options.resume ? JSON.parse(readFileSync(statePath, "utf8")) as SavedState : undefined;

const begin = saved?.settings ?? defaults();
const settings: Settings = {
  ca: { ...begin.ca, ...options.ca },
  discovery: { ...begin.discovery, ...options.discovery },
  port: { ...begin.port, ...options.portSettings },
};
const store = new Store();
for (const resource of saved?.resources ?? []) store.put(resource);
const authority = saved === undefined ? await Authority.create() : await Authority.restore(saved.authority);
const discovery = new Discovery(store, () => settings.discovery, saved?.pushes ?? 1);
const certificates = new CertificateService(authority, settings, options.trustDomain);
const server = new Server(settings, authority, discovery, certificates, options.lastNumber);
const innerPath = join(options.directory, `inner-${process.pid}.sock`);
const front = new Front(innerPath, options, (id, socket) => server.accept(id, socket));

/** Changes by type, gathered while a command changes the mesh. */
class Changes {
  readonly #types = new Map<string, { put: Set<string>; removed: Set<string> }>();

  note(typeUrl: string, kind: "put" | "removed", name: string): void {
    let sets = this.#types.get(typeUrl);
    if (sets === undefined) this.#types.set(typeUrl, sets = { put: new Set(), removed: new Set() });
    sets[kind].add(name);
    sets[kind === "put" ? "removed" : "put"].delete(name);
  }

  push(): PushSent {
    return discovery.push(this.#types);
  }
}

function resourcesOf(typeUrls: Iterable<string>): ResourceText[] {
  const texts: ResourceText[] = [];
  for (const typeUrl of typeUrls) {
    for (const { name, version, value, anyTypeUrl } of store.all(typeUrl).values()) {
      texts.push({ typeUrl, name, version, value: Buffer.from(value).toString("base64"), anyTypeUrl });
    }
  }
  return texts;
}

async function breakAll(how: Break, numbers: readonly number[] | undefined): Promise<number> {
  const streams = discovery.streams.filter(({ call }) => numbers === undefined || numbers.includes(call.id));
  if (how.how === "status" || how.how === "reset stream") {
    for (const stream of streams) breakStream(stream, how);
    return streams.length;
  }
  const connections = new Set(streams.map(({ call }) => call.connection));
  if (numbers === undefined && how.how !== "half a message") {
    for (const id of server.connections) {
      connections.add(id);
    }
  }
  if (how.how === "half a message") {
    for (const stream of streams) breakStream(stream, how);
    // What was written has to leave the program before the connection is cut.
    setTimeout(() => connections.forEach((id) => front.cut(id, "reset")), HALF_MS);
    return connections.size;
  }
  let broken = 0;
  for (const id of connections) {
    const done = how.how === "goaway"
      ? await server.goaway(id, how.code, how.end)
      : front.cut(id, how.how === "tcp reset" ? "reset" : "end");
    if (done) broken++;
  }
  return broken;
}

/** Time for half a message to reach its client before the reset, milliseconds. */
const HALF_MS = 100;

/** Undefined is null in JSON. */
function withUndefined<T extends object>(change: T): T {
  return Object.fromEntries(Object.entries(change).map(([key, value]) => [key, value ?? undefined])) as T;
}

async function setPort(change: Partial<PortSettings>): Promise<PortSettings> {
  const next = { ...settings.port, ...withUndefined(change) };
  authority.check([next.serverIssuer]);
  settings.port = next;
  await server.renewCertificate();
  if (change.connections !== undefined) await front.set(change.connections);
  return settings.port;
}

/** What each verb does. */
const verbs: { [V in Command["verb"]]: (command: Extract<Command, { verb: V }>) => Answers[V] | Promise<Answers[V]> } =
  {
    put({ resources, removed }) {
      const changes = new Changes();
      for (const resource of resources) {
        store.put(resource);
        changes.note(resource.typeUrl, "put", resource.name);
      }
      for (const [typeUrl, names] of Object.entries(removed)) {
        for (const name of names) if (store.remove(typeUrl, name)) changes.note(typeUrl, "removed", name);
      }
      return changes.push();
    },
    generate({ mesh }) {
      const changes = new Changes();
      const prefix = mesh.prefix ?? "load";
      for (const [typeUrl, resources] of store.types) {
        const names = [...resources.keys()].filter((name) => isGenerated(name, prefix));
        for (const name of names) {
          store.remove(typeUrl, name);
          changes.note(typeUrl, "removed", name);
        }
      }
      for (const { typeUrl, name, value } of generateMesh(mesh)) {
        store.putBytes(typeUrl, name, value);
        changes.note(typeUrl, "put", name);
      }
      return changes.push();
    },
    clear() {
      const changes = new Changes();
      for (const [typeUrl, resources] of store.types) {
        for (const name of [...resources.keys()]) {
          store.remove(typeUrl, name);
          changes.note(typeUrl, "removed", name);
        }
      }
      return changes.push();
    },
    resources: ({ typeUrl }) => resourcesOf([typeUrl]),
    "push all": () => discovery.push(undefined),
    "push large": ({ typeUrl, bytes }) => discovery.pushLarge(typeUrl, bytes),
    ca({ settings: change }) {
      const next = { ...settings.ca, ...withUndefined(change) };
      authority.check([next.issuer, ...next.roots]);
      return settings.ca = next;
    },
    discovery: ({ settings: change }) => settings.discovery = { ...settings.discovery, ...withUndefined(change) },
    port: ({ settings: change }) => setPort(change),
    break: ({ how, streams }) => breakAll(how, streams),
    "new root": () => authority.newRoot(),
    roots: ({ generations }) => authority.roots(generations ?? settings.ca.roots),
    issue: ({ plan }) => authority.issue(plan, settings.ca.issuer),
    revoke: ({ revocation }) => authority.revoke(revocation),
    async save() {
      const state: SavedState = {
        settings,
        authority: await authority.save(),
        pushes: discovery.pushes,
        resources: resourcesOf(store.types.keys()),
      };
      writeFileSync(statePath, JSON.stringify(state));
      return null;
    },
    status: () => ({
      connections: front.connections,
      streams: discovery.streams.map(({ call, node, typeUrls }) => ({ stream: call.id, node, typeUrls })),
      resources: Object.fromEntries([...store.types].map(([typeUrl, resources]) => [typeUrl, resources.size])),
      rssBytes: process.memoryUsage.rss(),
    }),
  };

/** Runs one command; commands are run one after the other. */
async function run({ id, command }: CommandLine): Promise<void> {
  try {
    const verb = verbs[command.verb] as (command: Command) => unknown;
    tell({ answer: id, value: await verb(command) ?? null });
  } catch (error) {
    tell({ answer: id, error: error instanceof Error ? error.message : String(error) });
  }
}

async function main(): Promise<void> {
  await server.renewCertificate();
  await front.open();
  // Listens once, so that the port is known; who started it says when somebody may come.
  await front.set("reset");
  await front.set("refuse");
  tell({ ready: { port: front.port, address: options.address } });
  let last = Promise.resolve();
  const lines = createInterface({ input: process.stdin, crlfDelay: Infinity });
  lines.on("line", (line) => {
    const command = JSON.parse(line) as CommandLine;
    last = last.then(() => run(command));
  });
  // Whoever started it has gone.
  lines.on("close", () => {
    rmSync(innerPath, { force: true });
    process.exit(0);
  });
}

main().catch((error: unknown) => {
  tell({ fatal: error instanceof Error ? error.message : String(error) });
  process.exit(1);
});
