/** The way to the control plane, as the settings of both modes describe it (spec/ztunnel.md §3.1). */
import { readFileSync } from "node:fs";
import type { AuthToken, RootCertificate } from "../config/mod.ts";
import { GrpcChannel, readRootsFile, RootsError, rootsReader } from "../grpc/mod.ts";
import type { HeaderList } from "../http2/mod.ts";
import { pemBlocks } from "../identity/mod.ts";
import type { LogScope } from "../telemetry/mod.ts";
import type { TlsPolicy } from "../tls/mod.ts";
import { watchFile } from "./watched_file.ts";

/** One server of the control plane: istiod for configuration, or the CA. */
export interface ControlPlaneServer {
  /** `https://host:port` */
  readonly address: string;
  readonly root: RootCertificate;
  /** ALT_XDS_HOSTNAME, ALT_CA_HOSTNAME: another name that its certificate may have. */
  readonly altHostname: string | undefined;
  /** XDS_HEADER_*, CA_HEADER_* */
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** As whom we speak to it. */
export interface ControlPlaneCaller {
  readonly token: AuthToken;
  readonly clusterId: string;
  readonly tlsPolicy: TlsPolicy;
}

const HTTPS_PORT = 443;

/** A channel to a server; token and root are read anew whenever they are needed. */
export function controlPlaneChannel(server: ControlPlaneServer, caller: ControlPlaneCaller): GrpcChannel {
  const url = new URL(server.address);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const { altHostname, root } = server;
  return new GrpcChannel({
    target: { host, port: url.port === "" ? HTTPS_PORT : Number(url.port) },
    serverNames: altHostname === undefined ? [host] : [host, altHostname],
    roots: rootsReader(root),
    tlsPolicy: caller.tlsPolicy,
    metadata: () => metadata(server, caller),
  });
}

function metadata({ headers }: ControlPlaneServer, { token, clusterId }: ControlPlaneCaller): HeaderList {
  const list: HeaderList = [];
  const text = tokenText(token);
  if (text !== undefined) list.push(["authorization", `Bearer ${text}`], ["clusterid", clusterId]);
  for (const [name, value] of headers) list.push([name, value]);
  return list;
}

function readToken(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new Error(`the token file ${path} cannot be read: ${(error as Error).message}`);
  }
}

/** The token of the moment: a projected one changes. Throws Error naming the file. */
function tokenText(token: AuthToken): string | undefined {
  if (token.kind === "none") return undefined;
  if (token.kind === "static") return token.token;
  const text = readToken(token.path).trim();
  if (text === "") throw new Error(`the token file ${token.path} is empty`);
  if (!/^[\x21-\x7e]+$/.test(text)) throw new Error(`the token file ${token.path} holds characters no header may have`);
  return text;
}

/**
 * Calls back when the file of the roots has other certificates in it. What cannot be read is told and changes nothing:
 * the roots that were there go on being used.
 */
export function watchRoots(root: RootCertificate, scope: LogScope, changed: () => void): { close(): void } {
  if (root.kind !== "file") return { close() {} };
  const { path } = root;
  let known: string | RootsError;
  const watch = watchFile(path, () => {
    const found = rootsOf(path);
    if (found === known) return;
    if (found instanceof RootsError) {
      scope.warn("root certificates cannot be read, the ones before stay in use", [["path", path], [
        "error",
        found.message,
      ]]);
      return;
    }
    known = found;
    scope.info("root certificates changed", [["path", path], ["certificates", pemBlocks("CERTIFICATE", found).length]]);
    changed();
  });
  known = rootsOf(path); // after the watch has begun, so that no change falls between
  return watch;
}

function rootsOf(path: string): string | RootsError {
  try {
    return readRootsFile(path);
  } catch (error) {
    if (error instanceof RootsError) return error;
    throw error;
  }
}
