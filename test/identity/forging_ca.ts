import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EmbeddedCa, type WorkloadCertificate } from "../../src/identity/mod.ts";

/** A CA in a directory of its own, which can also be asked for certificates that it would never issue. */
export class ForgingCa {
  readonly directory = mkdtempSync(join(tmpdir(), "ambient-tls-"));
  readonly caDirectory = join(this.directory, "ca");
  readonly ca = EmbeddedCa.open({ directory: this.caDirectory, trustDomain: "cluster.local" });

  issue(identity: string): Promise<WorkloadCertificate> {
    return this.ca.fetch(identity);
  }

  /** A certificate of one hour that began `startMs` from now. */
  issueAt(identity: string, startMs: number): Promise<WorkloadCertificate> {
    const now = () => Date.now() + startMs;
    return EmbeddedCa.open({ directory: this.caDirectory, trustDomain: "cluster.local", ttlMs: 3600_000, now })
      .fetch(identity);
  }

  /** A certificate signed by openssl, with the extensions as lines of its configuration file. */
  async forge(extensions: string[]): Promise<WorkloadCertificate> {
    const issued = await this.issue("spiffe://cluster.local/ns/forged/sa/forged");
    const root = join(this.caDirectory, "root.pem");
    return { ...issued, ...this.#sign(extensions, root, root) };
  }

  /** A certificate signed by an intermediate CA; its chain holds both. */
  async issueBelowIntermediate(identity: string): Promise<WorkloadCertificate> {
    const issued = await this.issue(identity);
    const root = join(this.caDirectory, "root.pem");
    const above = this.#sign(["basicConstraints = critical,CA:TRUE", "keyUsage = critical,keyCertSign"], root, root);
    const [certificate, key] = [this.#write("middle.pem", above.chainPem), this.#write("middle.key", above.keyPem)];
    const leaf = this.#sign([`subjectAltName = critical,URI:${identity}`], certificate, key);
    return { ...issued, ...leaf, chainPem: leaf.chainPem + above.chainPem };
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  #sign(extensions: string[], caCertificate: string, caKey: string): { keyPem: string; chainPem: string } {
    const keyPem = newKeyPem();
    const key = this.#write("forged.key", keyPem);
    const request = join(this.directory, "forged.csr");
    openssl(["req", "-new", "-key", key, "-subj", `/O=forged ${++forgeries}`, "-out", request]);
    const extfile = this.#write("forged.ext", extensions.join("\n"));
    const args = ["x509", "-req", "-in", request, "-CA", caCertificate, "-CAkey", caKey, "-extfile", extfile];
    return { keyPem, chainPem: openssl([...args, "-days", "1", "-set_serial", "7"]) };
  }

  #write(name: string, text: string): string {
    const path = join(this.directory, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  }
}

let forgeries = 0;

function newKeyPem(): string {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return privateKey.export({ type: "pkcs8", format: "pem" }).toString();
}

/** Runs the openssl command and returns what it printed; throws with its complaint if it failed. */
export function openssl(args: string[]): string {
  const run = Bun.spawnSync(["openssl", ...args], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  if (!run.success) throw new Error(`openssl ${args[0]}: ${run.stderr.toString()}${run.stdout.toString()}`);
  return run.stdout.toString();
}
