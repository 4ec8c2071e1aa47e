/** How the control plane is reached: addresses, trust, tokens, extra headers. */
import type { AuthoritySource, AuthToken, Flags, LocalState, RootCertificate, ZtunnelConfig } from "./config.ts";
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

/** XDS_ADDRESS, else the mesh's, else the default. Empty, or unset beside local state: no control plane. */
export function xdsAddress(
  variables: Variables,
  discoveryAddress: string | undefined,
  local: LocalState | undefined,
): string | undefined {
  const explicit = variables.text("XDS_ADDRESS");
  if (explicit === undefined && local !== undefined) return undefined;
  const text = explicit ?? discoveryAddress ?? defaultAddress(variables);
  return text === "" ? undefined : validAddress(variables, "XDS_ADDRESS", text);
}

/**
 * Where certificates come from. The embedded CA is chosen by FAKE_CA=true or CA_ADDRESS=embedded, and stands in where a
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
  const text = variables.text("CA_ADDRESS");
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

/** A file if it exists, the system's store for `SYSTEM`, else PEM text itself. */
export function rootCertificate(variables: Variables, name: string, surroundings: Surroundings): RootCertificate {
  const text = variables.text(name) ?? ROOT_CERTIFICATE;
  if (text === ROOT_CERTIFICATE || surroundings.exists(text)) return { kind: "file", path: text };
  return text === "SYSTEM" ? { kind: "system" } : { kind: "pem", pem: text };
}

/** AUTH_TOKEN is a file or the token itself; without it the projected token, if there is one. */
export function authToken(variables: Variables, surroundings: Surroundings): AuthToken {
  const text = variables.text("AUTH_TOKEN");
  if (text === undefined) {
    return surroundings.exists(TOKEN_FILE) ? { kind: "file", path: TOKEN_FILE } : { kind: "none" };
  }
  return surroundings.exists(text) ? { kind: "file", path: text } : { kind: "static", token: text };
}

/** `XDS_HEADER_<name>` and `CA_HEADER_<name>`: extra gRPC metadata. Values may be secret: errors do not show them. */
export function extraHeaders(variables: Variables, prefix: string): (readonly [string, string])[] {
  return variables.withPrefix(prefix).map(([name, value]) => {
    if (!/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(name)) {
      variables.errors.push(`invalid env var ${prefix}${name} (${JSON.stringify(name)} is no header name)`);
    } else if (!/^[\x20-\x7e\t]*$/.test(value)) {
      variables.errors.push(`invalid env var ${prefix}${name} (the value has characters no header may have)`);
    }
    return [name.toLowerCase(), value] as const;
  });
}

/** What this version cannot do: speak to a control plane, check revocations. Each text says what to set instead. */
export function refuseControlPlane(
  config: Pick<ZtunnelConfig, "xdsAddress" | "authority"> & Partial<Pick<ZtunnelConfig, "crlPath">>,
): string[] {
  const errors: string[] = [];
  if (config.xdsAddress !== undefined) {
    errors.push(
      `cannot use the control plane at ${config.xdsAddress}: this version reads local state only. ` +
        `Set XDS_ADDRESS="" and give a file with --config FILE or LOCAL_XDS_PATH`,
    );
  }
  if (config.authority.kind === "remote") {
    errors.push(
      `cannot use the CA at ${config.authority.address}: this version has its embedded CA only. ` +
        "Set CA_ADDRESS=embedded",
    );
  }
  // Whoever names a list relies on it: peers that it revokes would get in.
  if (config.crlPath !== undefined) {
    errors.push(
      `cannot check revocations by CRL_PATH=${config.crlPath}: this version reads no revocation lists. ` +
        "Leave CRL_PATH unset",
    );
  }
  return errors;
}
