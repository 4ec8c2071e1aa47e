/** The application behind large bodies: a GET is answered with 1 MB, of a POST the body is read to its end. */
import process from "node:process";

const BODY = new Uint8Array(1e6).fill(0x61);

Bun.serve({
  hostname: "0.0.0.0",
  port: Number(process.argv[2] ?? 8082),
  async fetch(request) {
    if (request.method === "GET") return new Response(BODY);
    let bytes = 0;
    for await (const chunk of request.body ?? []) bytes += chunk.length;
    return new Response(`${bytes}\n`);
  },
});
process.stdout.write("ready\n");
