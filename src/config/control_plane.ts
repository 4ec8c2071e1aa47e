/** How the control plane is reached: addresses, trust, tokens, extra headers. */
import { metadataProblem } from "../grpc/request.ts"; // not its door: whoever only reads settings needs no client
import type { AuthoritySource, AuthToken, Flags, RootCertificate } from "./config.ts";
import type { Surroundings } from "./surroundings.ts";
import type { Variables } from "./variables.ts";

const IN_CLUSTER = "https://istiod.istio-system.svc:15012";
const ON_MACHINE = "https://localhost:15012";
const ROOT_CERTIFICATE = "./var/run/secrets/istio/root-cert.pem";
const TOKEN_FILE = "./var/run/secrets/tokens/istio-token";
const SYSTEM_CA_DIRECTORY = "/var/lib/ambient/ca";

function defaultAddress(variables: Variables): string {
  return variables.has("KUBERNETES_SERVICE_HOST") ? IN_CLUSTER : ON_MACHINE;
}

/** The address with its scheme; without one it is https. Notes an error if it is none. */
function validAddress(variables: Variables, name: string, text: string): string {
  const address = text.includes("://") ? text : `https://${text}`;
  const url = URL.parse(address);
  if (url === null || url.protocol !== "https:" || url.hostname === "") {
    variables.errors.push(`invalid env var ${name}=${text} (expected an https address such as ${ON_MACHINE})`);
  }
  return address;
}

/**
 * XDS_ADDRESS, else the mesh's, else the default. Empty: no control plane. So too where a local state is all that is
 * wanted unless XDS_ADDRESS says otherwise, and beside LOCAL_XDS_PATH on a machine that is no Kubernetes node.
 *
 * @param local `alone`: it says everything; `beside`: there is one, and istiod may add to it
 */
export function xdsAddress(
  variables: Variables,
  discoveryAddress: string | undefined,
  local: "none" | "beside" | "alone",
): string | undefined {
  const explicit = variables.text("XDS_ADDRESS");
  if (explicit === undefined && local === "alone") return undefined;
  const named = explicit ?? discoveryAddress;
  if (named === undefined && local === "beside" && !variables.has("KUBERNETES_SERVICE_HOST")) return undefined;
  const text = named ?? defaultAddress(variables);
  return text === "" ? undefined : validAddress(variables, "XDS_ADDRESS", text);
}

/**
 * Where certificates come from: CA_ADDRESS, or CA_ADDR as pilot-agent calls it. The embedded CA is chosen by FAKE_CA=true or CA_ADDRESS=embedded, and stands in where a
 * local file was given on the command line of a machine that is no Kubernetes node.
 */
export function authoritySource(
  variables: Variables,
  flags: Flags,
  surroundings: Surroundings,
  warnings: string[],
): AuthoritySource {
  const embedded: AuthoritySource = {
    kind: "embedded",
    directory: flags.caDir ?? defaultDirectory(variables, surroundings),
  };
  const text = variables.text("CA_ADDRESS") ?? variables.text("CA_ADDR");
  const standsIn = text === undefined && flags.config !== undefined && !variables.has("KUBERNETES_SERVICE_HOST");
  if (variables.boolean("FAKE_CA") === true || text === "embedded" || standsIn) {
    warnings.push(
      (standsIn ? "no CA_ADDRESS given: " : "") +
        `certificates come from the embedded CA in ${embedded.directory}, which serves this machine only`,
    );
    return embedded;
  }
  if (text === "") {
    variables.invalid("CA_ADDRESS", "there is no running without certificates: give an address, or embedded");
    return embedded;
  }
  return { kind: "remote", address: validAddress(variables, "CA_ADDRESS", text ?? defaultAddress(variables)) };
}

/** For root the system's place, for anyone else the XDG state directory. */
function defaultDirectory(variables: Variables, surroundings: Surroundings): string {
  if (surroundings.root) return SYSTEM_CA_DIRECTORY;
  const state = variables.text("XDG_STATE_HOME");
  const base = state !== undefined && state.startsWith("/") ? state : `${surroundings.home}/.local/state`;
  return `${base}/ambient/ca`;
}

/** What names a file whether or not it is there yet: no PEM text and no token begins so. */
const PATH = /^\.{0,2}\//;

/** A file if it exists or is written as a path, the system's store for `SYSTEM`, else PEM text itself. */
export function rootCertificate(variables: Variables, name: string, surroundings: Surroundings): RootCertificate {
  const text = variables.text(name) ?? ROOT_CERTIFICATE;
  if (PATH.test(text) || surroundings.exists(text)) return { kind: "file", path: text };
  return text === "SYSTEM" ? { kind: "system" } : { kind: "pem", pem: text };
}

/**
 * AUTH_TOKEN is a file, if it exists or is written as a path, or the token itself; without it the projected token: in a
 * cluster also where it is not there yet. The token is secret: errors do not show it.
 */
export function authToken(variables: Variables, surroundings: Surroundings): AuthToken {
  const text = variables.text("AUTH_TOKEN");
  if (text === undefined) {
    const projected = variables.has("KUBERNETES_SERVICE_HOST") || surroundings.exists(TOKEN_FILE);
    return projected ? { kind: "file", path: TOKEN_FILE } : { kind: "none" };
  }
  if (PATH.test(text) || surroundings.exists(text)) return { kind: "file", path: text };
  const token = text.trim();
  if (!/^[\x21-\x7e]+$/.test(token)) {
    variables.errors.push(
      "invalid env var AUTH_TOKEN (neither a file nor a token: it is empty or has characters no header may have)",
    );
  }
  return { kind: "static", token };
}

/** What a control plane will be told of who we are, where that may not be what was meant. */
export function tokenWarning(token: AuthToken): string | undefined {
  if (token.kind === "none") {
    return `the control plane is called without a token: AUTH_TOKEN is not set, and there is no ${TOKEN_FILE}`;
  }
  if (token.kind === "static" && token.token.includes("/")) {
    return "AUTH_TOKEN names no file that is there and is taken for the token itself; write a path with ./ or / in front";
  }
  return undefined;
}

/** `XDS_HEADER_<name>` and `CA_HEADER_<name>`: extra gRPC metadata. Values may be secret: errors do not show them. */
export function extraHeaders(variables: Variables, prefix: string): (readonly [string, string])[] {
  return variables.withPrefix(prefix).map(([name, value]) => {
    const problem = metadataProblem(name.toLowerCase(), value);
    if (problem !== undefined) variables.errors.push(`invalid env var ${prefix}${name} (${problem})`);
    return [name.toLowerCase(), value] as const;
  });
}
