/** The demo as a check: one line for each fact about the scene, and whether all of them hold. */
import { identityOf, LAB_NAMESPACE, type LogLine, total, type Ztunnel } from "../mesh/mod.ts";
import { eventually, type LabPod } from "../topology/mod.ts";
import { contains, notTls, WireTap } from "../wire/mod.ts";
import { GREETING } from "./mail.ts";
import { type Facts, require } from "./fact.ts";
import { checkShop } from "./shop_facts.ts";
import { type Scene, STRICT, WEB_PORT, WEB_VIP } from "./scene.ts";

/** Bytes that must not be readable between the nodes. */
const MARKER = "confidential-4f1c9a";
const HBONE_PORT = 15008;

/** The log lines of both proxies about one connection, both naming both identities. */
async function encrypted(scene: Scene, since: readonly number[], from: LabPod, to: LabPod): Promise<string> {
  const identities = {
    "src.identity": identityOf({ pod: from, hbone: true }),
    "dst.identity": identityOf({ pod: to, hbone: true }),
  };
  const lines: LogLine[] = [];
  for (const [index, direction] of [[0, "outbound"], [1, "inbound"]] as const) {
    const line = await scene.ztunnel(index).accessLine(
      (entry) =>
        entry.message === "connection complete" && entry.fields["direction"] === direction &&
        entry.fields["src.workload"] === from.name && entry.fields["dst.workload"] === to.name,
      since[index],
    );
    for (const [field, wanted] of Object.entries(identities)) {
      const got = line.fields[field];
      require(got === wanted, `${direction} log line has ${field}=${got}, not ${wanted}`);
    }
    require(line.fields["dst.addr"] === `${to.ip}:${HBONE_PORT}`, `${direction} went to ${line.fields["dst.addr"]}`);
    require(line.fields["error"] === undefined, `${direction}: ${line.fields["error"]}`);
    lines.push(line);
  }
  const [out, into] = lines;
  const bytes = `${out?.fields["bytes_sent"]} bytes there, ${out?.fields["bytes_recv"]} back`;
  const agreed = out?.fields["bytes_sent"] === into?.fields["bytes_recv"] &&
    out?.fields["bytes_recv"] === into?.fields["bytes_sent"];
  require(agreed, `the two sides count different bytes: ${JSON.stringify([out?.fields, into?.fields])}`);
  return `encrypted, ${identities["src.identity"]} → ${identities["dst.identity"]}, ${bytes}`;
}

const marks = (scene: Scene) => scene.ztunnels.map((ztunnel) => ztunnel.access.length);

/** Checks everything the scene is to show. */
export async function checkScene(scene: Scene, facts: Facts): Promise<void> {
  const web = { ip: scene.web.ip, port: WEB_PORT };
  const tap = WireTap.programs().length === 0
    ? undefined
    : await WireTap.start(scene.lab.node(0).namespace, scene.lab.node(0).uplink);

  await facts.tell("client → web", async () => {
    const since = marks(scene);
    const { status, ms } = await scene.get(scene.client, web, `/${MARKER}`);
    require(status === 200, `answered ${status}`);
    return `200 in ${ms.toFixed(1)} ms, ${await encrypted(scene, since, scene.client, scene.web)}`;
  });
  await facts.tell(`client → web by its service's address ${WEB_VIP}:80`, async () => {
    const since = marks(scene);
    const { status } = await scene.get(scene.client, { ip: WEB_VIP, port: 80 }, `/${MARKER}`);
    require(status === 200, `answered ${status}`);
    return `200, ${await encrypted(scene, since, scene.client, scene.web)}`;
  });
  await facts.tell("client → mail, where the server speaks first", async () => {
    const since = marks(scene);
    const { greeting, answer, ms } = await scene.talkToMail(scene.client, MARKER);
    require(greeting === GREETING.trim(), `greeted with "${greeting}"`);
    require(answer === `250 heard ${MARKER.length} letters`, `answered "${answer}"`);
    const how = await encrypted(scene, since, scene.client, scene.mail);
    return `"${greeting}" after ${ms.toFixed(1)} ms, ${how}`;
  });
  await facts.tell(`the web server (${scene.webProgram}) sees the client pod's own address`, async () => {
    const request = await eventually(
      "its log line",
      () => scene.webLog.find((line) => line.includes(MARKER)),
    );
    require(request.startsWith(`${scene.client.ip} `), request);
    return scene.client.ip;
  });
  if (tap === undefined) facts.skip("between the nodes only TLS", "neither tcpdump nor python3 is installed");
  else await checkWire(scene, facts, tap);
  await facts.tell("outsider → web", async () => {
    const since = scene.ztunnel(1).access.length;
    const { status } = await scene.get(scene.outsider, web, "/");
    require(status === 200, `answered ${status}`);
    const line = await scene.ztunnel(1).accessLine(
      ({ message, fields }) =>
        message === "connection complete" && fields["direction"] === "inbound" &&
        (fields["src.addr"] ?? "").startsWith(`${scene.outsider.ip}:`),
      since,
    );
    require(line.fields["src.identity"] === undefined, `it has the identity ${line.fields["src.identity"]}`);
    return "200, plaintext, no identity";
  });
  await facts.tell("outsider → mail is refused, because a policy wants an identity", async () => {
    const since = scene.ztunnel(1).access.length;
    const { greeting } = await scene.talkToMail(scene.outsider, "hello");
    require(greeting === "", `greeted with "${greeting}"`);
    const wanted = `connection closed due to policy rejection: explicitly denied by: ${LAB_NAMESPACE}/${STRICT}`;
    const { ip } = scene.outsider;
    const line = await scene.ztunnel(1).accessLine(
      ({ message, fields }) =>
        message !== "connection opened" && fields["dst.workload"] === scene.mail.name &&
        (fields["src.addr"] ?? "").startsWith(`${ip}:`),
      since,
    );
    require(line.fields["error"] === wanted, `logged "${line.fields["error"]}"`);
    return `"${wanted}"`;
  });
  await facts.tell("the counters of both proxies", () => counters(scene));
  await checkShop(scene, facts);
}

async function checkWire(scene: Scene, facts: Facts, tap: WireTap): Promise<void> {
  const { packets, flows } = await tap.stop();
  await facts.tell(`between the nodes only TLS on ${HBONE_PORT} (seen with ${tap.program})`, () => {
    require(packets > 0 && flows.length > 0, "the tap saw nothing");
    let bytes = 0;
    for (const flow of flows) {
      const toPort = flow.toPort === HBONE_PORT || flow.fromPort === HBONE_PORT;
      require(toPort, `${flow.bytes.length} bytes from ${flow.from} to ${flow.to}`);
      const broken = notTls(flow.bytes);
      require(broken === undefined, `${flow.from} → ${flow.to}: ${broken}`);
      require(!contains(flow.bytes, MARKER), `"${MARKER}" is readable from ${flow.from} to ${flow.to}`);
      bytes += flow.bytes.length;
    }
    return `${packets} packets, ${bytes} bytes, "${MARKER}" is not among them`;
  });
  await facts.tell("the same tap reads what the outsider sends: it would have seen it", async () => {
    const control = await WireTap.start(scene.lab.node(0).namespace, scene.lab.node(0).uplink);
    await scene.get(scene.outsider, { ip: scene.web.ip, port: WEB_PORT }, `/${MARKER}`);
    const seen = (await control.stop()).flows.some((flow) => contains(flow.bytes, MARKER));
    require(seen, "the tap misses plaintext");
    return "";
  });
}

async function counters(scene: Scene): Promise<string> {
  const names = ["connections_opened", "connections_closed", "received_bytes", "sent_bytes"];
  const read = async (ztunnel: Ztunnel, reporter: string) => {
    const samples = await ztunnel.metrics();
    const labels = { reporter, connection_security_policy: "mutual_tls" };
    return names.map((name) => total(samples, `istio_tcp_${name}_total`, labels));
  };
  const [source, destination] = await eventually("equal counters on both sides", async () => {
    const both = [await read(scene.ztunnel(0), "source"), await read(scene.ztunnel(1), "destination")];
    return both[0]?.join() === both[1]?.join() && both;
  });
  require((source ?? []).every((value) => value > 0), `zero among ${source?.join()}`);
  require(destination !== undefined, "no destination counters");
  return names.map((name, index) => `${name.replace("_", " ")} ${source?.[index]}`).join(", ");
}
