// Certificates of servers outside the mesh, made by openssl in a directory of their own.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

export class OutsideCa {
  readonly directory: string = mkdtempSync(join(tmpdir(), "outside-ca-"));
  readonly root: string;

  constructor() {
    const subject = ["-subj", "/CN=outside", "-days", "10"];
    this.#openssl("req", "-x509", ...this.#newKey("ca"), ...subject, "-out", this.#path("ca.crt"));
    this.root = this.#read("ca.crt");
  }

  /** A certificate with these subject alternative names: `DNS:web.test,URI:spiffe://td/x`. */
  issue(names: string, days = 5): KeyPair {
    this.#openssl("req", ...this.#newKey("leaf"), "-subj", "/CN=leaf", "-out", this.#path("leaf.csr"));
    writeFileSync(this.#path("extensions"), `subjectAltName=${names}\n`);
    const signed = ["-CA", this.#path("ca.crt"), "-CAkey", this.#path("ca.key"), "-CAcreateserial"];
    const extensions = ["-extfile", this.#path("extensions")];
    const days_ = ["-days", String(days)];
    const files = ["-in", this.#path("leaf.csr"), "-out", this.#path("leaf.crt")];
    this.#openssl("x509", "-req", ...files, ...signed, ...extensions, ...days_);
    return { certificate: this.#read("leaf.crt"), key: this.#read("leaf.key") };
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  #newKey(name: string): string[] {
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", this.#path(`${name}.key`)];
  }

  #path(name: string): string {
    return join(this.directory, name);
  }

  #read(name: string): string {
    return readFileSync(this.#path(name), "utf8");
  }

  #openssl(...args: string[]): void {
    const { exitCode, stderr } = Bun.spawnSync(["openssl", ...args]);
    if (exitCode !== 0) throw new Error(`openssl ${args[0]}: ${stderr.toString()}`);
  }
}
