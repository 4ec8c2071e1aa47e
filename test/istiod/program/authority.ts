/** The certificate authority: generations of a root with its intermediate, and what they have issued. */
import type { PublicKey } from "@peculiar/x509";
import type { CaSettings, Generation, IssuedLeaf, LeafPlan, PortSettings, Revocation } from "../protocol.ts";
import {
  createCrl,
  createIntermediate,
  createRoot,
  issueLeaf,
  keyPem,
  newKeys,
  pemOf,
  type Signer,
  signerOf,
  type SignerText,
  signerText,
  subjectNames,
  type Validity,
} from "./certificates.ts";

/** Of leaves for tests' own peers, without a plan for it. */
const LEAF_SECONDS = 86_400;
/** Of the server's certificate. */
const SERVER_SECONDS = 365 * 86_400;

interface GenerationOfKeys {
  readonly root: Signer;
  readonly intermediate: Signer;
}

interface Issued {
  readonly serial: string;
  readonly identity: string;
  readonly issuer: Generation;
  readonly byRoot: boolean;
}

export interface AuthorityText {
  readonly generations: readonly { readonly root: SignerText; readonly intermediate: SignerText }[];
  readonly issued: readonly Issued[];
  readonly revoked: readonly string[];
}

export interface SignedChain {
  /** As in IstioCertificateResponse. */
  readonly chain: string[];
  readonly serial: string;
}

export class Authority {
  readonly #generations: GenerationOfKeys[] = [];
  #issued: Issued[] = [];
  #revoked = new Set<string>();

  static async create(): Promise<Authority> {
    const authority = new Authority();
    await authority.newRoot();
    return authority;
  }

  static async restore(text: AuthorityText): Promise<Authority> {
    const authority = new Authority();
    for (const { root, intermediate } of text.generations) {
      authority.#generations.push({ root: await signerOf(root), intermediate: await signerOf(intermediate) });
    }
    authority.#issued = [...text.issued];
    authority.#revoked = new Set(text.revoked);
    return authority;
  }

  async save(): Promise<AuthorityText> {
    const generations = [];
    for (const { root, intermediate } of this.#generations) {
      generations.push({ root: await signerText(root), intermediate: await signerText(intermediate) });
    }
    return { generations, issued: this.#issued, revoked: [...this.#revoked] };
  }

  async newRoot(): Promise<Generation> {
    const generation = this.#generations.length;
    const root = await createRoot(`root ${generation}`);
    const intermediate = await createIntermediate(root, `intermediate ${generation}`);
    return this.#generations.push({ root, intermediate }) - 1;
  }

  roots(generations: readonly Generation[]): string {
    return pemOf(...generations.map((generation) => this.#generation(generation).root.certificate));
  }

  /** @throws Error where a setting names a generation that there is not */
  check(generations: readonly Generation[]): void {
    for (const generation of generations) this.#generation(generation);
  }

  /** A chain for the key of a request, as the settings say. */
  async sign(key: PublicKey, identity: string, seconds: number, settings: CaSettings): Promise<SignedChain> {
    const { root, intermediate } = this.#generation(settings.issuer);
    const byRoot = settings.chain === "without intermediate";
    const validity = validFor(settings.ttlSeconds ?? seconds, settings.backdateSeconds, settings.shiftSeconds);
    const subject = settings.identity ?? identity;
    const subjectKey = settings.foreignKey ? (await newKeys()).publicKey : key;
    const leaf = await issueLeaf(byRoot ? root : intermediate, subjectKey, [{ type: "url", value: subject }], validity);
    this.#issued.push({ serial: leaf.serialNumber, identity: subject, issuer: settings.issuer, byRoot });
    const roots = this.roots(settings.roots);
    const chain = {
      full: () => [pemOf(leaf), pemOf(intermediate.certificate), roots],
      leaf: () => [pemOf(leaf)],
      empty: () => [],
      "without intermediate": () => [pemOf(leaf), roots],
      garbage: () => ["-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n", roots],
    }[settings.chain]();
    return { chain, serial: leaf.serialNumber };
  }

  async issue(plan: LeafPlan, current: Generation): Promise<IssuedLeaf> {
    const issuer = plan.issuer ?? current;
    const { root, intermediate } = this.#generation(issuer);
    const keys = await newKeys();
    const validity = validFor(plan.ttlSeconds ?? LEAF_SECONDS, 60, plan.shiftSeconds ?? 0);
    const leaf = await issueLeaf(intermediate, keys.publicKey, [{ type: "url", value: plan.identity }], validity);
    this.#issued.push({ serial: leaf.serialNumber, identity: plan.identity, issuer, byRoot: false });
    return {
      key: await keyPem(keys.privateKey),
      chain: pemOf(leaf, intermediate.certificate),
      roots: pemOf(root.certificate),
      serial: leaf.serialNumber,
    };
  }

  /** What the port shows its clients. */
  async serverCertificate(settings: PortSettings): Promise<{ readonly key: string; readonly cert: string }> {
    const { intermediate } = this.#generation(settings.serverIssuer);
    const keys = await newKeys();
    const validity = validFor(SERVER_SECONDS, 60, settings.serverExpired ? -2 * SERVER_SECONDS : 0);
    const leaf = await issueLeaf(intermediate, keys.publicKey, subjectNames(settings.serverNames), validity);
    return { key: await keyPem(keys.privateKey), cert: pemOf(leaf, intermediate.certificate) };
  }

  /** @returns a CRL of each issuer */
  async revoke({ serials = [], identities = [], intermediates = [] }: Revocation): Promise<string> {
    for (const serial of serials) {
      if (!this.#issued.some((issued) => issued.serial === serial)) {
        throw new Error(`nothing issued has serial ${serial}`);
      }
      this.#revoked.add(serial);
    }
    for (const identity of identities) {
      const mine = this.#issued.filter((issued) => issued.identity === identity);
      if (mine.length === 0) throw new Error(`nothing was issued for ${identity}`);
      for (const { serial } of mine) this.#revoked.add(serial);
    }
    for (const index of intermediates) {
      this.#revoked.add(this.#generation(index).intermediate.certificate.serialNumber);
    }
    const lists = [];
    for (const [index, { root, intermediate }] of this.#generations.entries()) {
      const leaves = this.#issued.filter(({ serial, issuer }) => issuer === index && this.#revoked.has(serial));
      const ofRoot = leaves.filter(({ byRoot }) => byRoot).map(({ serial }) => serial);
      const own = intermediate.certificate.serialNumber;
      if (this.#revoked.has(own)) ofRoot.push(own);
      const ofIntermediate = leaves.filter(({ byRoot }) => !byRoot).map(({ serial }) => serial);
      lists.push(await createCrl(intermediate, ofIntermediate), await createCrl(root, ofRoot));
    }
    return lists.join("");
  }

  #generation(index: Generation): GenerationOfKeys {
    const generation = this.#generations[index];
    if (generation === undefined) throw new Error(`there is no root ${index}`);
    return generation;
  }
}

function validFor(seconds: number, backdate: number, shift: number): Validity {
  const start = Math.floor(Date.now() / 1000) + shift;
  return { notBefore: new Date((start - backdate) * 1000), notAfter: new Date((start + seconds) * 1000) };
}
