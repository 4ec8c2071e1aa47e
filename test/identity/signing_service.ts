import { Buffer } from "node:buffer";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type IstioCertificateRequest,
  IstioCertificateRequestSchema,
  IstioCertificateResponseSchema,
} from "../../proto/gen/ca_pb.ts";
import { ForgingCa, openssl } from "./forging_ca.ts";

/** Of a leaf, in addition to the names of its request. */
const LEAF = ["keyUsage = critical,digitalSignature", "extendedKeyUsage = serverAuth,clientAuth"];
const CA = ["basicConstraints = critical,CA:TRUE", "keyUsage = critical,keyCertSign"];

/**
 * The other side of CreateCertificate, made of OpenSSL and the generated messages: nothing of what it checks is in it.
 * What it answers can be anything: see `chain`.
 */
export class SigningService {
  readonly #forging = new ForgingCa();
  readonly requests: IstioCertificateRequest[] = [];
  /** What becomes of a request: the elements of cert_chain. */
  chain: (csr: string) => readonly string[] | Promise<readonly string[]> = async (csr) => [
    this.sign(csr, []),
    await this.rootPem(),
  ];

  /** One call, as RemoteCaOptions.call. */
  readonly call = async (bytes: Uint8Array): Promise<Uint8Array> => {
    const request = fromBinary(IstioCertificateRequestSchema, bytes);
    this.requests.push(request);
    const certChain = [...await this.chain(request.csr)];
    return toBinary(IstioCertificateResponseSchema, create(IstioCertificateResponseSchema, { certChain }));
  };

  rootPem(): Promise<string> {
    return this.#forging.ca.rootPem();
  }

  /** A root of another CA. */
  async otherRootPem(): Promise<string> {
    const other = new ForgingCa();
    try {
      return await other.ca.rootPem();
    } finally {
      other.remove();
    }
  }

  /** Signs a request. With lines of extensions these are all that the leaf has; without, those that the request wants. */
  sign(csr: string, extensions: readonly string[], days = 1, issuer = this.#root()): string {
    const names = extensions.length === 0 ? ["-copy_extensions", "copy"] : [];
    const extfile = this.#write("leaf.ext", [...LEAF, ...extensions].join("\n"));
    const args = ["x509", "-req", "-in", this.#write("leaf.csr", csr), ...issuer, "-extfile", extfile, ...names];
    return openssl([...args, "-days", String(days), "-set_serial", "5"]);
  }

  /** A certificate for a key that nobody asked for. */
  signOwnKey(identity: string): string {
    const key = join(this.#forging.directory, "own.key");
    openssl(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key]);
    const csr = openssl(["req", "-new", "-key", key, "-subj", "/O=own"]);
    return this.sign(csr, [`subjectAltName = critical,URI:${identity}`]);
  }

  /** Signs below two intermediate CAs: the leaf and both, each the next one's subject. */
  signBelowTwo(csr: string): [leaf: string, lower: string, upper: string] {
    const upper = this.#intermediate("upper", this.#root());
    const lower = this.#intermediate("lower", upper.issuer);
    return [this.sign(csr, [], 1, lower.issuer), lower.pem, upper.pem];
  }

  /** Throws with OpenSSL's complaint unless the chain is good. */
  verify(chainPem: string, rootsPem: string): void {
    const [chain, roots] = [this.#write("chain.pem", chainPem), this.#write("roots.pem", rootsPem)];
    openssl(["verify", "-CAfile", roots, "-untrusted", chain, chain]);
  }

  remove(): void {
    this.#forging.remove();
  }

  #root(): string[] {
    const root = join(this.#forging.caDirectory, "root.pem");
    return ["-CA", root, "-CAkey", root];
  }

  #intermediate(name: string, above: string[]): { pem: string; issuer: string[] } {
    const key = join(this.#forging.directory, `${name}.key`);
    openssl(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key]);
    const csr = this.#write(`${name}.csr`, openssl(["req", "-new", "-key", key, "-subj", `/O=${name}`]));
    const extfile = this.#write("ca.ext", CA.join("\n"));
    const pem = openssl(["x509", "-req", "-in", csr, ...above, "-extfile", extfile, "-days", "2", "-set_serial", "6"]);
    return { pem, issuer: ["-CA", this.#write(`${name}.pem`, pem), "-CAkey", key] };
  }

  #write(name: string, text: string): string {
    const path = join(this.#forging.directory, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  }
}

/** DER of one PEM block. */
export function derOf(pem: string): Buffer {
  return Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ""), "base64");
}
