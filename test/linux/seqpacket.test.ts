import { afterAll, afterEach, expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import {
  closeFd,
  memoryFile,
  openFdCount,
  readMemoryFile,
  SeqpacketListener,
  SeqpacketSocket,
  watchReadable,
} from "../../src/linux/mod.ts";

const directory = mkdtempSync(join(tmpdir(), "seqpacket-"));
afterAll(() => rmSync(directory, { recursive: true }));

const cleanup: (() => void)[] = [];
afterEach(() => cleanup.splice(0).forEach((undo) => undo()));

let sockets = 0;
function pair(): [client: SeqpacketSocket, server: SeqpacketSocket] {
  const path = join(directory, `${sockets++}`);
  const listener = new SeqpacketListener(path);
  const client = SeqpacketSocket.connect(path);
  const server = listener.accept();
  cleanup.push(() => [listener, client, server].forEach((socket) => socket.close()));
  return [client, server];
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

test("packets keep their boundaries, both ways", () => {
  const [client, server] = pair();
  client.send(new TextEncoder().encode("one"));
  client.send(new TextEncoder().encode("two"));
  server.send(Uint8Array.of(0, 255));
  expect(text(server.receive(100).bytes)).toBe("one");
  expect(server.receive(100)).toEqual({ bytes: new TextEncoder().encode("two"), fds: [], truncated: false });
  expect(client.receive(2).bytes).toEqual(Uint8Array.of(0, 255));
});

test("descriptors travel with their packet, close-on-exec, and ours stay open", () => {
  const [client, server] = pair();
  const files = ["/dev/null", "/dev/zero"].map((path) => openSync(path, "r"));
  server.send(Uint8Array.of(1), files);
  server.send(Uint8Array.of(2));
  const { fds, truncated } = client.receive(10);
  expect(truncated).toBe(false);
  expect(fds.map((fd) => readlinkSync(`/proc/self/fd/${fd}`))).toEqual(["/dev/null", "/dev/zero"]);
  for (const fd of fds) {
    expect(files).not.toContain(fd);
    expect(parseInt(/flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1] ?? "0", 8) & 0x80000)
      .toBe(0x80000);
    closeFd(fd);
  }
  expect(client.receive(10)).toEqual({ bytes: Uint8Array.of(2), fds: [], truncated: false });
  files.forEach((fd) => closeSync(fd)); // throws if they were closed
});

test("what is too long is cut and flagged, and the rest is gone", () => {
  const [client, server] = pair();
  server.send(new Uint8Array(1025).fill(7));
  server.send(Uint8Array.of(9));
  const cut = client.receive(1024);
  expect([cut.bytes.length, cut.truncated]).toEqual([1024, true]);
  expect(client.receive(1024)).toEqual({ bytes: Uint8Array.of(9), fds: [], truncated: false });
});

test("more descriptors than there is room for are flagged, and none is lost", () => {
  const [client, server] = pair();
  const before = openFdCount();
  server.send(Uint8Array.of(1), new Array(16).fill(0));
  const full = client.receive(10);
  expect([full.fds.length, full.truncated]).toEqual([16, false]);
  full.fds.forEach(closeFd);
  expect(() => server.send(Uint8Array.of(1), new Array(17).fill(0))).toThrow("at most 16 descriptors");
  expect(openFdCount()).toBe(before);
});

test("the end is an empty packet: by close, and by shutdown in a waiting thread", async () => {
  const [client, server] = pair();
  const program = `
    import { SeqpacketSocket } from ${JSON.stringify(new URL("../../src/linux/mod.ts", import.meta.url).href)};
    self.onmessage = ({ data }) => {
      self.postMessage("waiting");
      self.postMessage(new SeqpacketSocket(data).receive(10));
    };`;
  const worker = new Worker(URL.createObjectURL(new Blob([program], { type: "application/typescript" })));
  const messages: unknown[] = [];
  const ended = Promise.withResolvers<void>();
  worker.onmessage = ({ data }) => {
    messages.push(data);
    if (data === "waiting") client.shutdown();
    else ended.resolve();
  };
  worker.postMessage(client.fd);
  await ended.promise;
  expect(messages).toEqual(["waiting", { bytes: new Uint8Array(0), fds: [], truncated: false }]);
  expect(server.receive(10).bytes.length).toBe(0);
  expect(() => server.send(Uint8Array.of(1))).toThrow("sendmsg: EPIPE");
  worker.terminate();
});

test("poll() does not wait, and watchReadable() tells when it is worth while, the end included", async () => {
  const [client, server] = pair();
  const packets: number[][] = [];
  let wake = Promise.withResolvers<void>();
  const stop = watchReadable(client.fd, () => {
    for (let packet = client.poll(10); packet !== undefined; packet = client.poll(10)) {
      packets.push([...packet.bytes]);
      if (packet.bytes.length === 0) break;
    }
    wake.resolve();
  });
  const next = async (count: number) => {
    while (packets.length < count) {
      await wake.promise;
      wake = Promise.withResolvers<void>();
    }
  };
  expect(client.poll(10)).toBeUndefined();
  server.send(Uint8Array.of(1));
  server.send(Uint8Array.of(2));
  await next(2);
  for (let i = 3; i <= 50; i++) {
    server.send(Uint8Array.of(i));
    await next(i);
  }
  server.shutdown();
  await next(51);
  expect(packets).toEqual([...Array.from({ length: 50 }, (_, i) => [i + 1]), []]);
  stop();
});

test("neither connecting nor sending ever waits", () => {
  const path = join(directory, "busy");
  const listener = new SeqpacketListener(path, 0);
  const first = SeqpacketSocket.connect(path);
  expect(() => SeqpacketSocket.connect(path)).toThrow(`connect(${path}): EAGAIN`);
  const send = () => {
    for (let i = 0; i < 100_000; i++) first.send(new Uint8Array(1000));
  };
  expect(send).toThrow("sendmsg: EAGAIN");
  cleanup.push(() => [listener, first].forEach((socket) => socket.close()));
});

test("connecting names the path and the reason", () => {
  const path = join(directory, "nobody");
  expect(() => SeqpacketSocket.connect(path)).toThrow(`connect(${path}): ENOENT`);
  new SeqpacketListener(path).close();
  expect(() => SeqpacketSocket.connect(path)).toThrow(`connect(${path}): ECONNREFUSED`);
  expect(() => new SeqpacketListener(path)).toThrow(`bind(${path}): EADDRINUSE`);
  expect(() => SeqpacketSocket.connect("x".repeat(108))).toThrow("a socket path has 1 to 107 bytes, not 108");
});

test("either side knows the user of the other", () => {
  const [client, server] = pair();
  expect([client.peerUser, server.peerUser]).toEqual([process.getuid?.() ?? -1, process.getuid?.() ?? -1]);
});

test("a listener that does not wait has a client or none", async () => {
  const path = join(directory, `${sockets++}`);
  const listener = new SeqpacketListener(path);
  const accepted: SeqpacketSocket[] = [];
  const unwatch = watchReadable(listener.fd, () => {
    for (let socket = listener.poll(); socket !== undefined; socket = listener.poll()) accepted.push(socket);
  });
  expect(listener.poll()).toBeUndefined();
  const clients = [SeqpacketSocket.connect(path), SeqpacketSocket.connect(path)];
  while (accepted.length < 2) await Bun.sleep(1);
  unwatch();
  [listener, ...clients, ...accepted].forEach((socket) => socket.close());
});

test("a file that is only memory carries what is too long for a packet", () => {
  const [client, server] = pair();
  const before = openFdCount();
  const pieces = [new Uint8Array(300_000).fill(1), new Uint8Array(0), new Uint8Array(700_001).fill(2)];
  const file = memoryFile(pieces);
  client.send(Uint8Array.of(0), [file]);
  closeFd(file);
  const [fd = -1] = server.receive(1).fds;
  const bytes = readMemoryFile(fd, 1_000_001);
  expect([bytes.length, bytes[0], bytes[299_999], bytes[300_000], bytes.at(-1)]).toEqual([1_000_001, 1, 1, 2, 2]);
  expect(readMemoryFile(fd, 2_000_000).length).toBe(1_000_001);
  closeFd(fd);
  expect(openFdCount()).toBe(before);
});
