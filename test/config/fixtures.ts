import type { Flags, ZtunnelConfig } from "../../src/config/mod.ts";
import { readConfig } from "../../src/config/mod.ts";
import type { ProxyConfig } from "../../src/config/proxy_config.ts";
import type { Surroundings } from "../../src/config/surroundings.ts";

/** A machine of eight cores on which nothing exists. */
export const MACHINE: Surroundings = {
  cores: 8,
  root: true,
  home: "/home/user",
  ipv6Loopback: true,
  exists: () => false,
};

/** The least that makes this version start: no control plane, a CA of its own. */
export const LOCAL = { XDS_ADDRESS: "", CA_ADDRESS: "embedded" };

export interface Given {
  readonly flags?: Flags;
  readonly proxyConfig?: ProxyConfig;
  readonly machine?: Partial<Surroundings>;
}

export function read(env: Record<string, string>, given: Given = {}) {
  return readConfig(env, given.flags, {
    surroundings: { ...MACHINE, ...given.machine },
    ...(given.proxyConfig === undefined ? {} : { proxyConfig: given.proxyConfig }),
  });
}

/** The settings of a local setup with these variables on top. */
export function settings(env: Record<string, string> = {}, given: Given = {}): ZtunnelConfig {
  const result = read({ ...LOCAL, ...env }, given);
  if (!result.ok) throw new Error(result.errors.join("\n"));
  return result.config;
}

/** What is wrong with a local setup with these variables on top. */
export function errors(env: Record<string, string>, given: Given = {}): readonly string[] {
  const result = read({ ...LOCAL, ...env }, given);
  return result.ok ? [] : result.errors;
}
