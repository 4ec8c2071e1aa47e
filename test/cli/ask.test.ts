/** `ambient request` and `ambient wait` on their way to a process: what they print, and how they end. */
import { afterAll, expect, test } from "bun:test";
import { createServer } from "node:net";
import { runRequest } from "../../src/cli/request.ts";
import { runWait } from "../../src/cli/wait.ts";

const closing: (() => unknown)[] = [];
afterAll(async () => {
  for (const close of closing) await close();
});

function serving(fetch: (request: Request) => Response | Promise<Response>): string {
  const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch });
  closing.push(() => server.stop(true));
  return `127.0.0.1:${server.port}`;
}

/** An address where nothing listens. */
async function nobody(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return `127.0.0.1:${port}`;
}

test("a request is asked as it was written, and the answer printed", async () => {
  const admin = serving(async (request) => {
    const { pathname, search } = new URL(request.url);
    return new Response(`${request.method} ${pathname}${search} ${await request.text()}`);
  });
  const ask = (method: string, path: string, body?: string) => runRequest({ method, path, body, admin });
  expect(await ask("GET", "/config_dump?a=b")).toEqual({ exitCode: 0, stdout: "GET /config_dump?a=b ", stderr: "" });
  expect((await ask("POST", "/logging", "x y")).stdout).toBe("POST /logging x y");
});

test("an answer that is none of success is printed, and told as such", async () => {
  const admin = serving(() => new Response("Invalid HTTP method\n", { status: 405 }));
  expect(await runRequest({ method: "GET", path: "/quitquitquit", body: undefined, admin })).toEqual({
    exitCode: 1,
    stdout: "Invalid HTTP method\n",
    stderr: `GET /quitquitquit: ${admin} answered 405\n`,
  });
});

test("nobody there, nobody who answers", async () => {
  const request = { method: "GET", path: "/", body: undefined };
  const gone = await nobody();
  expect(await runRequest({ ...request, admin: gone })).toEqual({
    exitCode: 1,
    stdout: "",
    stderr: `no answer from ${gone}: nothing listens there (--admin HOST:PORT says where the admin port is)\n`,
  });
  const silent = serving(() => new Promise<Response>(() => {}));
  expect((await runRequest({ ...request, admin: silent }, 100)).stderr).toBe(
    `no answer from ${silent}: nothing within 0.1 s\n`,
  );
});

/** Times that are short, and long enough for a busy machine. Milliseconds. */
const WAIT = { timeout: 15_000, requestTimeout: 5_000, period: 5 };

test("wait ends with the first 200", async () => {
  let asked = 0;
  const address = serving(() => new Response("not yet", { status: ++asked < 4 ? 503 : 200 }));
  expect(await runWait({ ...WAIT, url: `http://${address}/healthz/ready` })).toEqual({
    exitCode: 0,
    stdout: "ready\n",
    stderr: "",
  });
  expect(asked).toBe(4);
});

test("wait that is in vain says what the last answer was", async () => {
  const unready = serving(() => new Response("proxy is not ready: state manager\n", { status: 500 }));
  const gone = await nobody();
  const said = async (address: string) => {
    const { exitCode, stdout, stderr } = await runWait({ ...WAIT, timeout: 100, url: `http://${address}/` });
    expect([exitCode, stdout]).toEqual([1, ""]);
    return stderr;
  };
  expect(await said(unready)).toStartWith(`not ready within 0.1 s: http://${unready}/: `);
  expect(await said(gone)).toBe(`not ready within 0.1 s: http://${gone}/: nothing listens there\n`);
});
