import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readCertificate, summarize } from "../../src/identity/certificate.ts";
import { pemBlocks, type WorkloadCertificate } from "../../src/identity/mod.ts";
import { openssl } from "../identity/forging_ca.ts";

export interface AuthorityOptions {
  /** Of the subject; the authority's name otherwise. */
  readonly organization?: string;
  /** Arguments of `openssl genpkey`. */
  readonly key?: readonly string[];
  /** Takes this one's key. */
  readonly keyOf?: Authority;
  readonly extensions?: readonly string[];
  /** More arguments of `openssl x509 -req`. */
  readonly arguments?: readonly string[];
}

export interface ListOptions {
  /** Lines of the section crl_extensions; with none the list is of version 1. */
  readonly extensions?: readonly string[];
  /** Other sections of the configuration. */
  readonly sections?: readonly string[];
  /** For each entry. */
  readonly reason?: string;
  readonly arguments?: readonly string[];
}

/** A certificate authority of OpenSSL's. */
export interface Authority {
  readonly name: string;
  readonly certificate: string;
  readonly key: string;
  readonly pem: string;
  /** Hex, as in its certificate. */
  readonly serial: string;
  /** From the authority that signs its leaves up to the one below the root, as PEM. */
  readonly intermediates: string;
}

/** A workload's certificate, and its serial number in hex. */
export type Leaf = WorkloadCertificate & { readonly serial: string };

const P256 = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const AUTHORITY_EXTENSIONS = [
  "basicConstraints=critical,CA:true",
  "keyUsage=critical,keyCertSign,cRLSign",
  "subjectKeyIdentifier=hash",
];

/** Authorities, leaves and revocation lists as OpenSSL makes them, in a directory of its own. */
export class OpensslPki {
  readonly directory = mkdtempSync(join(tmpdir(), "ambient-pki-"));
  #count = 0;

  /** A root, or an authority below another. */
  authority(name: string, issuer?: Authority, options: AuthorityOptions = {}): Authority {
    const files = `${name}-${++this.#count}`;
    const key = this.#path(`${files}.key`);
    if (options.keyOf === undefined) openssl(["genpkey", ...(options.key ?? P256), "-out", key]);
    else writeFileSync(key, readFileSync(options.keyOf.key));
    const request = this.#path(`${files}.csr`);
    openssl(["req", "-new", "-key", key, "-subj", `/O=${options.organization ?? name}`, "-out", request]);
    const extensions = this.#write(`${files}.ext`, (options.extensions ?? AUTHORITY_EXTENSIONS).join("\n"));
    const certificate = this.#path(`${files}.pem`);
    const signer = issuer === undefined ? ["-signkey", key] : ["-CA", issuer.certificate, "-CAkey", issuer.key];
    const serial = serialNumber();
    openssl(
      ["x509", "-req", "-in", request, ...signer, "-set_serial", `0x${serial}`, "-days", "10", "-extfile", extensions]
        .concat(options.arguments ?? [], ["-out", certificate]),
    );
    const pem = readFileSync(certificate, "utf8");
    const intermediates = issuer === undefined ? "" : pem + issuer.intermediates;
    return { name, certificate, key, pem, serial, intermediates };
  }

  /**
   * A workload's certificate. @param sent what it shows besides its leaf, as PEM; its authority's chain otherwise
   * @returns it with its serial number in hex
   */
  issue(
    authority: Authority,
    identity: string,
    rootsPem: string,
    sent = authority.intermediates,
  ): Leaf {
    const files = `leaf-${++this.#count}`;
    const key = this.#path(`${files}.key`);
    openssl(["genpkey", ...P256, "-out", key]);
    const request = this.#path(`${files}.csr`);
    openssl(["req", "-new", "-key", key, "-subj", "/O=leaf", "-out", request]);
    const extensions = this.#write(`${files}.ext`, `subjectAltName=critical,URI:${identity}`);
    const serial = serialNumber();
    const leaf = openssl(
      ["x509", "-req", "-in", request, "-CA", authority.certificate, "-CAkey", authority.key, "-set_serial"]
        .concat([`0x${serial}`, "-days", "5", "-extfile", extensions]),
    );
    const summaries = (pem: string) =>
      pemBlocks("CERTIFICATE", pem).map((block) => summarize(block, readCertificate(block, identity)));
    const certificates = summaries(leaf + sent);
    const { notBefore, notAfter } = summarize(leaf, readCertificate(leaf, identity));
    const keyPem = readFileSync(key, "utf8");
    const chainPem = leaf + sent;
    const roots = summaries(rootsPem);
    return { identity, keyPem, chainPem, rootsPem, notBefore, notAfter, serialNumber: "", serial, certificates, roots };
  }

  /** A revocation list as PEM. @param serials hex */
  list(authority: Authority, serials: readonly string[], options: ListOptions = {}): string {
    const files = this.#path(`list-${++this.#count}`);
    const reason = options.reason === undefined ? "" : `,${options.reason}`;
    writeFileSync(
      files,
      serials.map((serial) => `R\t400101000000Z\t250101000000Z${reason}\t${serial}\tunknown\t/O=x\n`).join(""),
    );
    writeFileSync(`${files}.number`, "01\n");
    const extensions = options.extensions ?? ["authorityKeyIdentifier=keyid"];
    const configuration = [
      "[ca]",
      "default_ca=this",
      "[this]",
      `database=${files}`,
      `crlnumber=${files}.number`,
      "default_md=default",
      "default_crl_days=30",
      ...(extensions.length > 0 ? ["crl_extensions=extensions"] : []),
      "[extensions]",
      ...extensions,
      ...(options.sections ?? []),
    ];
    if (extensions.length === 0) configuration.splice(4, 1); // a number makes it version 2
    writeFileSync(`${files}.cnf`, configuration.join("\n"));
    const out = `${files}.crl`;
    openssl(
      ["ca", "-config", `${files}.cnf`, "-gencrl", "-cert", authority.certificate, "-keyfile"]
        .concat([authority.key, "-out", out], options.arguments ?? []),
    );
    return readFileSync(out, "utf8");
  }

  /** A file of the directory. */
  write(name: string, content: string | Uint8Array): string {
    const path = this.#path(name);
    writeFileSync(path, content);
    return path;
  }

  remove(): void {
    if (existsSync(this.directory)) rmSync(this.directory, { recursive: true, force: true });
  }

  #path(name: string): string {
    return join(this.directory, name);
  }

  #write(name: string, text: string): string {
    const path = this.#path(name);
    writeFileSync(path, text);
    return path;
  }
}

/** Sixteen octets that begin as a positive number does. */
function serialNumber(): string {
  const octets = crypto.getRandomValues(new Uint8Array(16));
  octets[0] = 0x41;
  return Array.from(octets, (octet) => octet.toString(16).padStart(2, "0")).join("").toUpperCase();
}
