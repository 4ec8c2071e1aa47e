import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { generateKeyPairSync } from "node:crypto";
import { EmbeddedCa, type WorkloadCertificate } from "../../src/identity/mod.ts";

/** A CA in a directory of its own, which can also be asked for certificates that it would never issue. */
export class ForgingCa {
  readonly directory = mkdtempSync(join(tmpdir(), "ambient-tls-"));
  readonly #caDirectory = join(this.directory, "ca");
  readonly ca = EmbeddedCa.open({ directory: this.#caDirectory, trustDomain: "cluster.local" });

  issue(identity: string): WorkloadCertificate {
    return this.ca.issue(identity);
  }

  /** A certificate of one hour that began `startMs` from now. */
  issueAt(identity: string, startMs: number): WorkloadCertificate {
    const now = () => Date.now() + startMs;
    return EmbeddedCa.open({ directory: this.#caDirectory, trustDomain: "cluster.local", ttlMs: 3600_000, now })
      .issue(identity);
  }

  /** A certificate signed by openssl with extensions as its configuration file writes them. */
  forge(extensions: Record<string, string>): WorkloadCertificate {
    const path = (name: string) => join(this.directory, name);
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const keyPem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    writeFileSync(path("forged.key"), keyPem);
    const lines = Object.entries(extensions).map(([name, value]) => `${name} = ${value}`);
    writeFileSync(path("forged.ext"), lines.join("\n"));
    openssl(["req", "-new", "-key", path("forged.key"), "-subj", "/O=forged", "-out", path("forged.csr")]);
    const root = join(this.#caDirectory, "root.pem");
    const chainPem = openssl(
      ["x509", "-req", "-in", path("forged.csr"), "-CA", root, "-CAkey", root, "-days", "1", "-set_serial", "7"]
        .concat("-extfile", path("forged.ext")),
    );
    return { ...this.ca.issue("spiffe://cluster.local/ns/forged/sa/forged"), identity: "forged", keyPem, chainPem };
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Runs the openssl command and returns what it printed; throws with its complaint if it failed. */
export function openssl(args: string[]): string {
  const run = Bun.spawnSync(["openssl", ...args], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  if (!run.success) throw new Error(`openssl ${args[0]}: ${run.stderr.toString()}`);
  return run.stdout.toString();
}
