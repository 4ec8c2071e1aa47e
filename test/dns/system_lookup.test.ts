/** The runtime's resolver against a name server of ours, in namespaces where resolv.conf names it. */
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const LOOKUPS = `${import.meta.dir}/system_lookups.ts`;
const ENTER = ["unshare", "--map-root-user", "--net", "--mount"];
const allowed = Bun.spawnSync([...ENTER, "ip", "link", "set", "lo", "up"]).exitCode === 0;

test.skipIf(!allowed)(
  "addresses; no addresses of a family, and no such name, are nothing; a failure is a failure",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "resolv-"));
    try {
      writeFileSync(join(folder, "resolv.conf"), "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
      const script = 'ip link set lo up && mount --bind "$0" /etc/resolv.conf && exec "$1" "$2"';
      const run = Bun.spawn([...ENTER, "sh", "-c", script, join(folder, "resolv.conf"), process.execPath, LOOKUPS], {
        stdout: "pipe",
        stderr: "inherit",
      });
      expect(JSON.parse(await new Response(run.stdout).text())).toEqual({
        "four.test. 4": { addresses: [{ ip: "192.0.2.1", ttl: 9 }], exists: true },
        // The runtime says the same of these as of a name that is not there.
        "four.test. 6": { addresses: [], exists: expect.any(Boolean) },
        "none.test. 4": { addresses: [], exists: expect.any(Boolean) },
        "nowhere.test. 4": { addresses: [], exists: false },
        "nowhere.test. 6": { addresses: [], exists: false },
        "broken.test. 4": "DNS_ESERVFAIL",
        "four.test. by a resolver for IPv6": { ip: "192.0.2.1" },
        "none.test. by a resolver for IPv6": { error: expect.any(String), detail: expect.stringContaining("no") },
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
  15_000,
);
