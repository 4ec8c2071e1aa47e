import * as nodeCrypto from "node:crypto";
import process from "node:process";
import { afterAll, afterEach, describe, expect, test } from "bun:test";
import { pemBlocks, type WorkloadCertificate } from "../../src/identity/mod.ts";
import { type Issuer, IssuerStore } from "../../src/tls/issuer.ts";
import { type ChainOutcome, type ChainSocket, followChain } from "../../src/tls/peer_chain.ts";
import { serialKey } from "../../src/tls/serial_set.ts";
import { type LivePair, livePair } from "./live_pair.ts";
import { type Authority, OpensslPki } from "./openssl_pki.ts";

const SERVER = "spiffe://cluster.local/ns/default/sa/server";
const CLIENT = "spiffe://cluster.local/ns/default/sa/client";

const pki = new OpensslPki();
afterAll(() => pki.remove());
const root = pki.authority("root");
const upper = pki.authority("upper", root);
const lower = pki.authority("lower", upper);
const server = pki.issue(lower, SERVER, root.pem);

const pairs: LivePair[] = [];
afterEach(() => {
  for (const pair of pairs.splice(0)) pair.close();
});
async function met(client: WorkloadCertificate, over: "loopback" | "socket pair" = "loopback"): Promise<LivePair> {
  const pair = await livePair(server, client, over);
  pairs.push(pair);
  return pair;
}

/** Serials of what the runtime lists. */
function listed(socket: ChainSocket, abbreviated: boolean): string[] {
  const serials: string[] = [];
  const seen = new Set<unknown>();
  type Listed = { serialNumber: string; issuerCertificate?: Listed };
  for (
    let next = socket.getPeerCertificate(abbreviated) as Listed | undefined;
    next !== undefined && !seen.has(next);
    next = next.issuerCertificate
  ) {
    seen.add(next);
    serials.push(next.serialNumber);
  }
  return serials;
}

function follow(
  socket: ChainSocket,
  options: { roots?: string; revoked?: readonly string[]; at?: number } = {},
): ChainOutcome {
  const store = new IssuerStore(nodeCrypto);
  const { roots = root.pem, revoked = [], at = Date.now() } = options;
  const keys = new Set(revoked.map(serialKey));
  return followChain(socket, store, {
    roots: pemBlocks("CERTIFICATE", roots).map((pem) => store.find(pem) as Issuer),
    at,
    revoked: (serial) => keys.has(serial),
  });
}

/** Serials of a chain's issuers. */
function issuers(outcome: ChainOutcome): string[] {
  const serials: string[] = [];
  if (outcome.kind !== "chain") return [outcome.kind];
  for (let link = outcome.chain.link as typeof outcome.chain.link | undefined; link !== undefined; link = link.next) {
    serials.push(link.issuer.certificate.serialNumber);
  }
  return serials;
}

describe("the runtime", () => {
  for (const over of ["loopback", "socket pair"] as const) {
    test(`lists what a peer sent, and the root, on both sides and for as long as they live (${over})`, async () => {
      const client = pki.issue(lower, CLIENT, root.pem);
      const pair = await met(client, over);
      for (const [socket, leaf] of [[pair.server, client], [pair.client, server]] as const) {
        for (const _time of ["at the handshake", "and later"]) {
          expect(listed(socket, false)).toEqual([leaf.serial, lower.serial, upper.serial, root.serial]);
          expect(listed(socket, true)).toEqual([leaf.serial]);
          expect(socket.getPeerX509Certificate()?.issuerCertificate).toBeUndefined();
          await new Promise((resolve) => setImmediate(resolve));
        }
      }
    });
  }

  test("lists certificates that have nothing to do with the chain", async () => {
    const decoy = pki.authority("decoy", undefined, { organization: "lower" });
    const client = pki.issue(lower, CLIENT, root.pem, decoy.pem + lower.pem + upper.pem);
    const pair = await met(client);
    expect(pair.errors[0]).toBeUndefined(); // it is a good chain all the same
    expect(listed(pair.server, false)).toEqual([
      client.serial,
      decoy.serial,
      lower.serial,
      upper.serial,
      root.serial,
    ]);
  });
});

describe("a chain is followed", () => {
  const clientOf = (authority: Authority, sent?: string) => pki.issue(authority, CLIENT, root.pem, sent);

  test("from the leaf to the root", async () => {
    const client = clientOf(lower);
    const { server: socket } = await met(client);
    const outcome = follow(socket);
    expect(outcome).toMatchObject({ kind: "chain", chain: { serial: serialKey(client.serial) } });
    expect(issuers(outcome)).toEqual([lower.serial, upper.serial, root.serial]);
    expect(issuers(follow((await met(clientOf(root))).server))).toEqual([root.serial]);
  });

  test("only as far as the first that is trusted", async () => {
    const { server: socket } = await met(clientOf(lower));
    expect(issuers(follow(socket, { roots: upper.pem + root.pem }))).toEqual([lower.serial, upper.serial]);
  });

  test("past decoys of the same name, with another key", async () => {
    const decoy = pki.authority("decoy", undefined, { organization: "lower" });
    const twin = pki.authority("twin", upper, { organization: "lower" });
    for (const sent of [decoy.pem, twin.pem]) {
      const { server: socket } = await met(clientOf(lower, sent + lower.pem + upper.pem));
      expect(issuers(follow(socket))).toEqual([lower.serial, upper.serial, root.serial]);
      expect(follow(socket, { revoked: [lower.serial] })).toMatchObject({ kind: "revoked" });
    }
  });

  test("to a second certificate of the same authority when the first is revoked", async () => {
    const again = pki.authority("again", upper, { organization: "lower", keyOf: lower });
    const { server: socket } = await met(clientOf(lower, lower.pem + again.pem + upper.pem));
    expect(issuers(follow(socket, { revoked: [lower.serial] }))).toEqual([again.serial, upper.serial, root.serial]);
    expect(follow(socket, { revoked: [lower.serial, again.serial] }).kind).toBe("revoked");
    expect(follow(socket, { revoked: [upper.serial] }).kind).toBe("revoked");
  });

  test("not through what is no authority, or not valid", async () => {
    const { server: socket } = await met(clientOf(lower));
    expect(follow(socket, { at: Date.now() + 11 * 24 * 3600_000 }).kind).toBe("none");
    expect(follow(socket, { at: Date.now() - 3600_000 }).kind).toBe("none");
    const bare = pki.authority("bare", upper, { organization: "lower", keyOf: lower, extensions: ["nsComment=no"] });
    const past = await met(clientOf(lower, lower.pem + bare.pem + upper.pem));
    expect(follow(past.server, { revoked: [lower.serial] }).kind).toBe("revoked");
  });

  test("not to a stranger's root, even of the same name", async () => {
    const { server: socket } = await met(clientOf(lower));
    expect(follow(socket, { roots: pki.authority("other").pem }).kind).toBe("none");
    expect(follow(socket, { roots: pki.authority("root").pem }).kind).toBe("none");
  });

  test("among many decoys without much work", async () => {
    const key = pki.authority("many", undefined, { organization: "lower" });
    let sent = "";
    for (let i = 0; i < 14; i++) sent += pki.authority("many", key, { organization: "lower", keyOf: key }).pem;
    const { server: socket } = await met(clientOf(lower, lower.pem + upper.pem + sent));
    const began = process.cpuUsage();
    expect(issuers(follow(socket))).toEqual([lower.serial, upper.serial, root.serial]);
    expect(follow(socket, { revoked: [lower.serial] }).kind).toBe("revoked");
    expect(process.cpuUsage(began).user).toBeLessThan(1_000_000); // µs
  });
});

test("equal chains are one object", async () => {
  const store = new IssuerStore(nodeCrypto);
  const rules = { roots: [store.find(root.pem) as Issuer], revoked: () => false };
  const chains = [];
  for (let i = 0; i < 2; i++) {
    const pair = await met(pki.issue(lower, CLIENT, root.pem));
    for (const socket of [pair.server, pair.client]) chains.push(followChain(socket, store, rules));
  }
  const links = new Set(chains.map((outcome) => outcome.kind === "chain" && outcome.chain.link));
  expect(links.size).toBe(1);
});
