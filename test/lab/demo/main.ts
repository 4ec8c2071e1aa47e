/**
 * The mesh on one machine: real applications in network namespaces, two ztunnels and a waypoint between them.
 *
 *     npm run demo               builds, starts everything and shows traffic live until Ctrl-C
 *     npm run demo -- --once     the same as a check: a line for each fact, exit status 0 only if all hold
 */
import process from "node:process";
import { ambientBinary } from "../mesh/mod.ts";
import {
  inspectHost,
  installPrograms,
  leftovers,
  type NetworkNamespace,
  removeAbandoned,
  rerunIn,
} from "../topology/mod.ts";
import { Facts } from "./fact.ts";
import { checkScene } from "./facts.ts";
import { checkLoopback } from "./loopback.ts";
import { SHOP_VIP } from "./shop.ts";
import { MAIL_PORT, Scene, WEB_PORT, WEB_VIP } from "./scene.ts";
import { View } from "./view.ts";

/** Pause between calls in the live view, and between pictures; milliseconds. */
const CALL_INTERVAL = 150;
const DRAW_INTERVAL = 1000;

async function main(args: readonly string[]): Promise<number> {
  const unknown = args.find((arg) => arg !== "--once");
  if (unknown !== undefined) {
    console.error(`demo: unknown argument ${unknown}; there is --once`);
    return 1;
  }
  const once = args.includes("--once");
  const host = inspectHost();
  if (host.kind === "wants user namespace") {
    console.log("not root: using a user namespace");
    await rerunIn(host.command);
  }
  removeAbandoned();
  console.log(`built ${ambientBinary()}`);
  if (host.kind !== "available") {
    const reason = host.kind === "unavailable" ? host.reason : "";
    console.log(`no network namespaces here (${reason}): on loopback, through SOCKS5 instead`);
    return await finish(async (facts) => await checkLoopback(facts));
  }
  installPrograms(["nginx", "tcpdump"]);
  return once ? await finish((facts) => check(facts, host.redirector)) : await show(new Scene(host.redirector));
}

/** Runs a check, then makes sure that nothing is left of it. */
async function finish(work: (facts: Facts) => Promise<void>): Promise<number> {
  const started = performance.now();
  const facts = new Facts();
  await facts.tell("the scene", async () => {
    await work(facts);
    return "played to its end";
  });
  await facts.tell("nothing is left behind", () => {
    const left = leftovers();
    if (left.length > 0) throw new Error(left.join(", "));
    return "no namespace, process, rule or file";
  });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${facts.held} facts hold, ${facts.failed} do not, ${seconds} s`);
  return facts.failed === 0 ? 0 : 1;
}

async function check(facts: Facts, redirector: "nftables" | "iptables"): Promise<void> {
  const scene = new Scene(redirector);
  try {
    await scene.start();
    await checkScene(scene, facts);
  } finally {
    await scene.close();
  }
}

async function show(scene: Scene): Promise<number> {
  const { promise: stopped, resolve: stop } = Promise.withResolvers<void>();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.removeAllListeners(signal);
    process.on(signal, () => stop());
  }
  try {
    await scene.start();
    const view = new View(scene);
    const hint = tryMore(scene);
    const draw = setInterval(() => view.draw(hint), DRAW_INTERVAL);
    let running = true;
    const call = async (from: string, to: string, work: () => Promise<{ ms: number }>) => {
      while (running) {
        const outcome = await work().catch(() => undefined);
        if (outcome !== undefined) view.measured(from, to, outcome.ms);
        await Bun.sleep(CALL_INTERVAL);
      }
    };
    const ask = async (what: string, work: () => Promise<{ status: number; pod: string; ms: number }>) => {
      while (running) {
        const outcome = await work().catch(() => undefined);
        if (outcome !== undefined) view.asked(what, outcome);
        await Bun.sleep(CALL_INTERVAL);
      }
    };
    const { shop } = scene;
    const web = { ip: scene.web.ip, port: WEB_PORT };
    const calls = Promise.all([
      call("client", "web", () => scene.get(scene.client, web, "/")),
      call("client", "mail", () => scene.talkToMail(scene.client, "good morning")),
      call("outsider", "web", () => scene.get(scene.outsider, web, "/")),
      call("outsider", "mail", () => scene.talkToMail(scene.outsider, "let me in")),
      ask("client GET /", () => shop.ask()),
      ask("client GET / x-beta: yes", () => shop.ask({ fields: [["x-beta", "yes"]] })),
      ask("client GET /flaky (fails once)", () => shop.askFlaky()),
      ask("client DELETE /item", () => shop.ask({ method: "DELETE", path: "/item" })),
      ask("admin DELETE /item", () => shop.ask({ method: "DELETE", path: "/item", from: scene.lab.pod("admin") })),
      ask("client gRPC Echo", () => shop.call()),
    ]);
    view.draw(hint);
    await stopped;
    running = false;
    clearInterval(draw);
    await calls;
  } finally {
    await scene.close();
  }
  const left = leftovers();
  console.log(left.length === 0 ? "\neverything removed" : `\nleft behind: ${left.join(", ")}`);
  return left.length === 0 ? 0 : 1;
}

/** Commands for another terminal; each is short enough to be copied from 80 columns, only what explains it may be cut. */
function tryMore(scene: Scene): string[] {
  const inUserNamespace = process.env["AMBIENT_LAB_USER_NAMESPACE"] !== undefined;
  const sudo = inUserNamespace || process.geteuid?.() === 0 ? "" : "sudo ";
  const enter = ({ path }: NetworkNamespace) => `  ${sudo}nsenter -n${path}`;
  const place = inUserNamespace
    ? `In another terminal: nsenter -t ${process.pid} -U --preserve-credentials -m  then:`
    : "Try, in another terminal:";
  return [
    place,
    `${enter(scene.client.namespace)} curl -i http://${scene.web.ip}:${WEB_PORT}/   or http://${WEB_VIP}/`,
    `${enter(scene.outsider.namespace)} curl telnet://${scene.mail.ip}:${MAIL_PORT}   refused: no identity`,
    `${enter(scene.client.namespace)} curl -i http://${SHOP_VIP}/   or -X DELETE: the policy refuses it`,
    `${enter(scene.waypoint.namespace)} curl -s localhost:15000/config_dump   or localhost:15020/metrics`,
    `${enter(scene.lab.node(0).namespace)} dist/ambient explain demo/client ${WEB_VIP}   and why`,
    `  edit ${scene.configurationPath}   it is watched; a mistake is refused and logged`,
    "Ctrl-C ends it and removes everything.",
  ];
}

process.exit(await main(process.argv.slice(2)));
