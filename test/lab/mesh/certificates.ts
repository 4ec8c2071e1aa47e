/** Certificates from openssl: an issuer that shares no code with the project, for good peers and for bad ones. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { must } from "../topology/mod.ts";

export interface PeerCertificate {
  readonly key: string;
  readonly chain: string;
  readonly roots: string;
}

export interface LeafPlan {
  /** SPIFFE URI; without one the certificate has no URI SAN at all. */
  readonly identity?: string;
  /** Days of validity from now; negative for one that has already expired. */
  readonly days?: number;
}

export class OpensslAuthority {
  readonly #directory: string;
  readonly #root: string;
  readonly #key: string;
  #issued = 0;

  private constructor(directory: string, root: string, key: string) {
    mkdirSync(directory, { recursive: true });
    this.#directory = directory;
    this.#root = root;
    this.#key = key;
  }

  /** A root of its own, which nobody in the mesh trusts. @throws CommandError */
  static create(directory: string): OpensslAuthority {
    const root = join(directory, "root.pem");
    const key = join(directory, "root-key.pem");
    const authority = new OpensslAuthority(directory, root, key);
    if (existsSync(root)) return authority;
    must(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key]);
    const subject = ["-subj", "/O=lab", "-days", "2", "-addext", "keyUsage=critical,keyCertSign,cRLSign"];
    must(["openssl", "req", "-x509", "-new", "-key", key, ...subject, "-out", root]);
    return authority;
  }

  /** Issues in the name of an existing root, e.g. the mesh's own. */
  static adopt(directory: string, root: string, key: string): OpensslAuthority {
    return new OpensslAuthority(directory, root, key);
  }

  /** @throws CommandError */
  issue(plan: LeafPlan): PeerCertificate {
    const file = (suffix: string) => join(this.#directory, `leaf-${this.#issued}.${suffix}`);
    this.#issued++;
    writeFileSync(
      file("ext"),
      [
        "basicConstraints=critical,CA:FALSE",
        "keyUsage=critical,digitalSignature",
        "extendedKeyUsage=serverAuth,clientAuth",
        ...(plan.identity === undefined ? [] : [`subjectAltName=critical,URI:${plan.identity}`]),
        "",
      ].join("\n"),
    );
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", file("key")];
    must(["openssl", "req", "-new", ...key, "-subj", "/", "-out", file("csr")]);
    const signer = ["-CA", this.#root, "-CAkey", this.#key, "-set_serial", `${Date.now()}${this.#issued}`];
    must([
      "openssl",
      "x509",
      "-req",
      "-in",
      file("csr"),
      ...signer,
      "-days",
      `${plan.days ?? 1}`,
      "-extfile",
      file("ext"),
      "-out",
      file("pem"),
    ]);
    return {
      key: readFileSync(file("key"), "utf8"),
      chain: readFileSync(file("pem"), "utf8"),
      roots: /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/.exec(readFileSync(this.#root, "utf8"))?.[0] ??
        "",
    };
  }
}
