/** The demo's server-first application: it greets before the client says a word, as SMTP, MySQL or SSH servers do. */
import process from "node:process";

export const GREETING = "220 mail.demo ready\r\n";

if (import.meta.main) {
  Bun.listen<undefined>({
    hostname: "0.0.0.0",
    port: Number(process.argv[2]),
    socket: {
      open(socket) {
        socket.write(GREETING);
      },
      data(socket, chunk) {
        const text = new TextDecoder().decode(chunk).trim();
        if (text === "QUIT") socket.end("221 bye\r\n");
        else socket.write(`250 heard ${text.length} letters\r\n`);
      },
      error(socket) {
        socket.terminate();
      },
    },
  });
  console.log("ready");
}
