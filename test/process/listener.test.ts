import { expect, test } from "bun:test";
import { closeSync } from "node:fs";
import { openListener } from "../../src/process/mod.ts";

test("a port that is taken is told with the component; nothing stays open", () => {
  const options = { backlog: 1, reusePort: false, reuseAddress: true };
  const first = openListener("hbone", { ...options, address: { ip: "127.0.0.1", port: 0 } });
  const { port } = first.address;
  try {
    expect(() => openListener("hbone", { ...options, address: { ip: "127.0.0.1", port } })).toThrow(
      `hbone: port ${port} is taken (another ambient in this network namespace?)`,
    );
  } finally {
    closeSync(first.fd);
  }
  closeSync(openListener("hbone", { ...options, address: { ip: "127.0.0.1", port } }).fd);
});
