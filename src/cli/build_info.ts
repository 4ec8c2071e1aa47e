import process from "node:process";

/** What was built from what. */
export interface BuildInfo {
  /** Version of the release, e.g. `0.1.0`. */
  readonly version: string;
  /** Commit, with `-dirty` when the tree had changes; `unknown` when it runs from source. */
  readonly gitRevision: string;
  readonly bunVersion: string;
  readonly buildProfile: "release" | "source";
  readonly buildStatus: "Clean" | "Modified" | "Unknown";
  /** ISTIO_META_ISTIO_VERSION, or `unknown`. */
  readonly istioVersion: string;
  readonly cryptoProvider: string;
}

/** Put in its place by compile/compile.ts. */
declare const AMBIENT_BUILD: { version: string; gitRevision: string } | undefined;

export function buildInfo(env: Readonly<Record<string, string | undefined>> = process.env): BuildInfo {
  const built = typeof AMBIENT_BUILD === "undefined" ? undefined : AMBIENT_BUILD;
  const gitRevision = built?.gitRevision ?? "unknown";
  return {
    version: built?.version ?? "source",
    gitRevision,
    bunVersion: Bun.version,
    buildProfile: built === undefined ? "source" : "release",
    buildStatus: gitRevision === "unknown" ? "Unknown" : gitRevision.endsWith("-dirty") ? "Modified" : "Clean",
    istioVersion: env["ISTIO_META_ISTIO_VERSION"] ?? "unknown",
    cryptoProvider: "boringssl",
  };
}

/** One line in the form that istio's tools print. */
export function formatBuildInfo(info: BuildInfo): string {
  const parts: [string, string][] = [
    ["Version", info.version],
    ["GitRevision", info.gitRevision],
    ["BunVersion", info.bunVersion],
    ["BuildProfile", info.buildProfile],
    ["BuildStatus", info.buildStatus],
    ["IstioVersion", info.istioVersion],
    ["CryptoProvider", info.cryptoProvider],
  ];
  return `version.BuildInfo{${parts.map(([name, value]) => `${name}:${JSON.stringify(value)}`).join(", ")}}`;
}
