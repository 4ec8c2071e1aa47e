/** Large bodies, slow readers and many connections: all that comes passes, and the waypoint stays as small as it was. */
import { expect, test } from "bun:test";
import { Buffer } from "node:buffer";
import { readdirSync, readFileSync } from "node:fs";
import { labSuite, sharedMesh } from "../fixture.ts";
import { hostnameOf } from "../mesh/mod.ts";
import type { EchoedRequest } from "../peers/mod.ts";
import { eventually } from "../topology/mod.ts";
import { type Conversation, http1, jsonOf } from "../traffic/mod.ts";
import { type Applications, ask, HTTP, open, RAW, RAW_TARGET, startApplications, VIP, waypointMesh } from "./mesh.ts";

const MB = 1 << 20;
const HOST = hostnameOf("web");

function residentMb(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
}

function patternOf(size: number): Buffer {
  return Buffer.alloc(size, "0123456789abcdef");
}

function sha256(bytes: Uint8Array): string {
  return new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
}

labSuite("load on a waypoint", () => {
  let applications: Applications;
  const shared = sharedMesh(waypointMesh, async (mesh) => {
    applications = await startApplications(mesh);
  });
  const client = () => shared().lab.pod("client").namespace;

  test("bodies of 10 MB both ways over HTTP/1.1", async () => {
    const body = patternOf(10 * MB);
    const up = await http1(client(), { ip: VIP, port: HTTP }, { method: "POST", host: HOST, body }, 30_000);
    expect(jsonOf<EchoedRequest>(up)).toMatchObject({ bytes: body.length, sha256: sha256(body) });
    const down = await http1(client(), { ip: VIP, port: HTTP }, { path: `/?size=${10 * MB}`, host: HOST }, 30_000);
    expect(sha256(down.body)).toBe(sha256(body));
  }, 120_000);

  test("bodies of 10 MB both ways over HTTP/2", async () => {
    const origin = `http://${VIP}:${HTTP}`;
    const up = await applications.caller.http2({
      origin,
      headers: { ":method": "POST", ":path": "/", ":authority": HOST },
      size: 10 * MB,
    }, 30_000);
    const expected = { bytes: 10 * MB, sha256: sha256(patternOf(10 * MB)) };
    expect(JSON.parse(up.body)).toMatchObject(expected);
    const down = await applications.caller.http2({
      origin,
      headers: { ":method": "GET", ":path": `/?size=${10 * MB}`, ":authority": HOST },
    }, 30_000);
    expect(down).toMatchObject(expected);
  }, 120_000);

  test("a slow reader holds its backend back: the waypoint's memory stays bounded", async () => {
    const size = 64 * MB;
    const serving = Promise.withResolvers<Conversation>();
    for (const pod of ["v1", "v2"]) {
      shared().serve(pod, RAW_TARGET, async (conversation) => {
        await conversation.readUntil("\r\n\r\n");
        conversation.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`).write(patternOf(size));
        serving.resolve(conversation);
      });
    }
    const { pid } = shared().waypoint().process;
    const before = residentMb(pid);
    const connection = await open(shared(), RAW);
    connection.send({ host: HOST });
    connection.conversation.pause();
    const server = await serving.promise;
    let highest = before;
    let unsent = -1;
    let still = 0;
    await eventually("a standstill of the backend", async () => {
      await Bun.sleep(50);
      highest = Math.max(highest, residentMb(pid));
      still = server.unsent === unsent ? still + 1 : 0;
      unsent = server.unsent;
      return still === 10;
    }, 20_000);
    expect(unsent).toBeGreaterThan(size / 2);
    expect(highest - before).toBeLessThan(24);
    connection.conversation.resume();
    expect((await connection.answer("GET", 30_000)).body.length).toBe(size);
    connection.close();
  }, 120_000);

  test("more connections at once than one tunnel may have streams", async () => {
    const statuses = await Promise.all(
      Array.from({ length: 350 }, async () => (await ask(shared(), { path: "/?delay=500" })).status),
    );
    expect(new Set(statuses)).toEqual(new Set([200]));
  }, 120_000);

  test("more requests at once than one HTTP/2 connection may have streams", async () => {
    const order = {
      origin: `http://${VIP}:${HTTP}`,
      headers: { ":path": "/?delay=300", ":authority": HOST },
    };
    const statuses = await Promise.all(
      Array.from({ length: 250 }, async () => (await applications.caller.http2(order, 40_000)).headers[":status"]),
    );
    expect(new Set(statuses)).toEqual(new Set([200]));
  }, 120_000);

  test("connections leave nothing behind", async () => {
    const { pid } = shared().waypoint().process;
    const rounds = async (count: number) => {
      for (let round = 0; round < count; round++) {
        await Promise.all(Array.from({ length: 25 }, () => ask(shared())));
      }
    };
    await rounds(4);
    const descriptors = () => readdirSync(`/proc/${pid}/fd`).length;
    const before = { descriptors: descriptors(), resident: residentMb(pid) };
    await rounds(40);
    await eventually("as many descriptors as before", () => descriptors() <= before.descriptors + 4);
    expect(residentMb(pid) - before.resident).toBeLessThan(24);
  }, 120_000);
});
