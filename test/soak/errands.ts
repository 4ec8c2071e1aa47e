/** What applications do over and over: each errand is one piece of work, from its connection to its end, with its outcome. */
import { LAB_NAMESPACE } from "../lab/mesh/mod.ts";
import type { LabPod } from "../lab/topology/mod.ts";
import { Conversation, ConversationError, type Destination } from "../lab/traffic/mod.ts";
import { BEFORE_DROP, drop } from "./application.ts";
import type { Random } from "./random.ts";
import {
  KNOWN_ADDRESS,
  KNOWN_NAME,
  PORT,
  type Resident,
  type Scene,
  SERVICE_PORT,
  SERVICES,
  SILENT_NAME,
} from "./scene.ts";

export interface Errand {
  readonly name: string;
  readonly perSecond: number;
  /** @throws Error for whatever is not as it has to be */
  run(scene: Scene, random: Random): Promise<void>;
}

/** For all that an errand waits for; a machine with other work leaves us without a core at times, ms. */
export const PATIENCE_MS = 60_000;
const TRIES = 5;
const MEGABYTE = 1 << 20;
const BLOCK = new Uint8Array(64 << 10).fill(0x62);
/** What a slow reader leaves lying, ms. */
const NAP_MS = 1500;

const pod = (scene: Scene, name: Resident) => scene.lab.pod(name);
const service = (name: keyof typeof SERVICES): Destination => ({ ip: SERVICES[name], port: SERVICE_PORT });
const at = (target: LabPod): Destination => ({ ip: target.ip, port: PORT });

/** Works with a connection, and closes it whatever comes. */
export async function connected<T>(from: LabPod, to: Destination, work: (c: Conversation) => Promise<T>): Promise<T> {
  const conversation = await Conversation.open(from.namespace, to, { deadlineMs: PATIENCE_MS });
  try {
    return await work(conversation);
  } finally {
    conversation.close();
  }
}

export async function say(conversation: Conversation, text: string): Promise<void> {
  const answer = await conversation.write(`SAY ${text}\n`).readUntil("\n", PATIENCE_MS);
  if (answer !== `${text}\n`) throw new Error(`answered ${JSON.stringify(answer)}`);
}

/** A connection, a word there and back, an orderly end. */
export function greet(from: LabPod, to: Destination, text: string): Promise<void> {
  return connected(from, to, async (conversation) => {
    await say(conversation, text);
    const rest = await conversation.finish().readToEnd(PATIENCE_MS);
    if (rest !== "" || conversation.failure !== undefined) throw conversation.failure ?? new Error(`rest ${rest}`);
  });
}

/** @throws Error if the connection is not refused: no byte comes */
async function refused(from: LabPod, to: Destination): Promise<void> {
  let came = "";
  try {
    came = await connected(from, to, (conversation) => conversation.write("SAY x\n").readToEnd(PATIENCE_MS));
  } catch (error) {
    if (error instanceof ConversationError) return;
    throw error;
  }
  if (came !== "") throw new Error(`let through: ${came}`);
}

async function fetchBytes(from: LabPod, to: Destination, bytes: number, slowly: boolean): Promise<void> {
  await connected(from, to, async (conversation) => {
    conversation.write(`GIVE ${bytes}\n`);
    if (slowly) {
      conversation.pause();
      await Bun.sleep(NAP_MS);
      conversation.resume();
    }
    let got = 0;
    while (got < bytes && !conversation.ended) {
      await conversation.untilReceived(conversation.received + 1, PATIENCE_MS);
      got += conversation.discard();
    }
    got += conversation.discard();
    if (got !== bytes) throw conversation.failure ?? new Error(`${got} of ${bytes} bytes`);
  });
}

async function giveBytes(from: LabPod, to: Destination, bytes: number): Promise<void> {
  await connected(from, to, async (conversation) => {
    conversation.write(`TAKE ${bytes}\n`);
    for (let left = bytes; left > 0; left -= BLOCK.length) {
      conversation.write(left >= BLOCK.length ? BLOCK : BLOCK.subarray(0, left));
    }
    const answer = await conversation.readToEnd(PATIENCE_MS);
    if (answer !== "done\n") throw conversation.failure ?? new Error(`answered ${JSON.stringify(answer)}`);
  });
}

/** Asks as often as an application's resolver does. */
async function ask(scene: Scene, name: string, expected: readonly string[], protocol: "udp" | "tcp"): Promise<void> {
  let got = "";
  for (let tries = 0; tries < TRIES; tries++) {
    const { answers, code } = await scene.resolver.ask(name, { protocol, deadlineMs: PATIENCE_MS });
    got = `${code} ${answers.map(({ data }) => data).join()}`;
    if (got === `NOERROR ${expected.join()}`) return;
    // The name server had no core in time.
    if (code !== "SERVFAIL") break;
  }
  throw new Error(`${name}: ${got}`);
}

/** Nobody answers it: the proxy says so. */
async function askInVain(scene: Scene): Promise<void> {
  const { code } = await scene.resolver.ask(SILENT_NAME, { deadlineMs: PATIENCE_MS });
  if (code !== "SERVFAIL") throw new Error(`${SILENT_NAME}: ${code}`);
}

const WEB_NAME = `web.${LAB_NAMESPACE}.svc.cluster.local.`;

export const ERRANDS: readonly Errand[] = [
  { name: "new connection", perSecond: 25, run: (scene) => greet(pod(scene, "client"), service("web"), "new") },
  {
    name: "same node",
    perSecond: 4,
    run: (scene) => greet(pod(scene, "client"), at(pod(scene, "neighbour")), "near"),
  },
  {
    name: "IPv6",
    perSecond: 3,
    run: (scene) => {
      const { ip, ip6 = ip } = pod(scene, "server");
      return greet(pod(scene, "client"), { ip: ip6, port: PORT }, "six");
    },
  },
  {
    name: "half-closed",
    perSecond: 3,
    run: (scene, random) =>
      connected(pod(scene, "client"), service("web"), async (conversation) => {
        const wait = Math.floor(random.between(10, 1500));
        const answer = await conversation.write(`LATE ${wait}\n`).finish().readToEnd(PATIENCE_MS);
        if (answer !== "late\n") throw conversation.failure ?? new Error(`answered ${JSON.stringify(answer)}`);
      }),
  },
  {
    name: "reset by the client",
    perSecond: 3,
    run: async (scene, random) => {
      const conversation = await Conversation.open(pod(scene, "client").namespace, service("web"), {
        deadlineMs: PATIENCE_MS,
      });
      try {
        conversation.write(`GIVE ${MEGABYTE}\n`);
        if (random.next() < 0.5) await conversation.untilReceived(1, PATIENCE_MS);
      } finally {
        drop(conversation);
      }
    },
  },
  {
    name: "reset by the server",
    perSecond: 3,
    run: (scene) =>
      connected(pod(scene, "client"), service("web"), async (conversation) => {
        const answer = await conversation.write("DROP\n").readToEnd(PATIENCE_MS);
        // What a reset overtakes is lost, as without a proxy.
        if (!BEFORE_DROP.startsWith(answer)) throw new Error(`answered ${JSON.stringify(answer)}`);
      }),
  },
  {
    name: "plaintext in",
    perSecond: 4,
    run: (scene) => greet(pod(scene, "stranger"), at(pod(scene, "server")), "plain"),
  },
  { name: "plaintext out", perSecond: 4, run: (scene) => greet(pod(scene, "client"), service("outside"), "out") },
  { name: "denied", perSecond: 3, run: (scene) => refused(pod(scene, "client"), at(pod(scene, "guarded"))) },
  {
    name: "denied in plaintext",
    perSecond: 1,
    run: (scene) => refused(pod(scene, "stranger"), at(pod(scene, "guarded"))),
  },
  {
    name: "nobody listens",
    perSecond: 2,
    run: (scene) => refused(pod(scene, "client"), { ip: pod(scene, "server").ip, port: 9 }),
  },
  {
    name: "download",
    perSecond: 1,
    run: (scene, random) =>
      fetchBytes(pod(scene, "client"), service("web"), Math.floor(random.between(1, 4) * MEGABYTE), false),
  },
  {
    name: "slow download",
    perSecond: 0.3,
    run: (scene) => fetchBytes(pod(scene, "client"), service("web"), 6 * MEGABYTE, true),
  },
  {
    name: "upload",
    perSecond: 1,
    run: (scene, random) =>
      giveBytes(pod(scene, "client"), service("web"), Math.floor(random.between(1, 4) * MEGABYTE)),
  },
  { name: "name of a service", perSecond: 4, run: (scene) => ask(scene, WEB_NAME, [SERVICES.web], "udp") },
  { name: "name over TCP", perSecond: 1, run: (scene) => ask(scene, WEB_NAME, [SERVICES.web], "tcp") },
  { name: "name of elsewhere", perSecond: 2, run: (scene) => ask(scene, KNOWN_NAME, [KNOWN_ADDRESS], "udp") },
  { name: "name without answer", perSecond: 0.1, run: askInVain },
];

/** Connections that stay for a while, with a word now and then. */
export const STANDING = { name: "standing connection", count: 16, perSecond: 2, lifeMs: 20_000 } as const;

/** Holds one connection until `until` says so or its time is over. */
export async function stand(scene: Scene, random: Random, over: () => boolean): Promise<void> {
  const to = random.of([service("web"), service("web"), service("outside"), at(pod(scene, "neighbour"))]);
  const end = performance.now() + random.between(0.3, 1.7) * STANDING.lifeMs;
  await connected(pod(scene, "client"), to, async (conversation) => {
    while (!over() && performance.now() < end) {
      await say(conversation, "still");
      await Bun.sleep(random.pause(STANDING.perSecond));
    }
    conversation.finish();
    await conversation.readToEnd(PATIENCE_MS);
  });
}
