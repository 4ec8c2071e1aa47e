/** The web server of last resort, where neither nginx nor Python is at hand: each request is one line, client first. */
import process from "node:process";

const server = Bun.serve({
  hostname: "0.0.0.0",
  port: Number(process.argv[2]),
  fetch(request, server) {
    const { pathname } = new URL(request.url);
    console.log(`${server.requestIP(request)?.address} - - "${request.method} ${pathname}"`);
    return new Response("hello from the web\n");
  },
});
console.log(`ready on ${server.port}`);
