/** `ambient explain` on its way to an admin port: what it prints, and how it ends. */
import { afterAll, expect, test } from "bun:test";
import { createServer, type Server } from "node:net";
import { runExplain } from "../../src/cli/explain.ts";
import type { Explanation } from "../../src/explain/mod.ts";

const closing: (() => unknown)[] = [];
afterAll(async () => {
  for (const close of closing) await close();
});

function answering(status: number, body: string): string {
  const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response(body, { status }) });
  closing.push(() => server.stop(true));
  return `127.0.0.1:${server.port}`;
}

function ask(admin: string, json = false, timeout?: number) {
  return runExplain({ source: "shop/web", destination: "cart:80", admin, json }, timeout);
}

function explanation(outcome: Explanation["verdict"]["outcome"]): Explanation {
  return {
    source: { asked: "shop/web", ip: "10.0.0.1" },
    destination: { asked: "cart:80", address: "10.96.0.1:80" },
    hops: [],
    verdict: { outcome, summary: "so it is" },
  };
}

test.each(
  [["allowed", 0], ["unknown", 0], ["denied", 2], ["refused", 2]] as const,
)("the exit code of %s is %i, as text and as JSON", async (outcome, exitCode) => {
  const body = JSON.stringify(explanation(outcome));
  const admin = answering(200, body);
  const text = await ask(admin);
  expect([text.exitCode, text.stderr]).toEqual([exitCode, ""]);
  expect(text.stdout).toStartWith(`shop/web -> cart:80: ${outcome.toUpperCase()}\n  so it is\n`);
  expect(await ask(admin, true)).toEqual({ exitCode, stdout: body, stderr: "" });
});

test.each([
  [400, "no workload shop/web\n", "no workload shop/web"],
  [404, "not here", "ADMIN cannot explain: not the admin port of a ztunnel"],
  [200, "<html>", "ADMIN cannot explain: not the admin port of an ambient (it answered 200)"],
  [200, "null", "ADMIN cannot explain: not the admin port of an ambient (it answered 200)"],
  [500, "broken", "ADMIN cannot explain: not the admin port of an ambient (it answered 500)"],
])("an answer %i %j is no explanation", async (status, body, error) => {
  const admin = answering(status, body);
  for (const json of [false, true]) {
    expect(await ask(admin, json)).toEqual({ exitCode: 1, stdout: "", stderr: `${error.replace("ADMIN", admin)}\n` });
  }
});

/** A listener of whose port only the listener itself knows; `connected` says what it does. */
async function listening(connected: Parameters<typeof createServer>[1]): Promise<{ server: Server; admin: string }> {
  const server = createServer(connected);
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", resolve);
  await promise;
  const { port } = server.address() as { port: number };
  return { server, admin: `127.0.0.1:${port}` };
}

test("nobody there, nobody who answers, no such host: in words of our own", async () => {
  const gone = await listening(() => {});
  await new Promise((resolve) => gone.server.close(resolve));
  const silent = await listening(() => {});
  const rude = await listening((socket) => socket.destroy());
  for (const { server } of [silent, rude]) closing.push(() => server.close());
  const said = async (admin: string, timeout?: number) => {
    const { exitCode, stdout, stderr } = await ask(admin, false, timeout);
    expect([exitCode, stdout]).toEqual([1, ""]);
    return stderr;
  };
  expect(await said(gone.admin)).toBe(
    `no answer from ${gone.admin}: nothing listens there (--admin HOST:PORT says where the ztunnel's admin port is)\n`,
  );
  expect(await said(silent.admin, 200)).toBe(`no answer from ${silent.admin}: nothing within 0.2 s\n`);
  expect(await said("nowhere.invalid:15000")).toBe(
    "no answer from nowhere.invalid:15000: the name of the host cannot be resolved\n",
  );
  const cut = await said(rude.admin);
  expect(cut).toStartWith(`no answer from ${rude.admin}: `);
  expect(cut).not.toContain("url");
});
