import type { BuildInfo } from "../cli/mod.ts";
import type { AdminOptions } from "./options.ts";

/** A page of the admin port. */
export interface Endpoint {
  readonly path: string;
  readonly method: "GET" | "POST";
  readonly does: string;
}

const ENDPOINTS: readonly Endpoint[] = [
  {
    path: "/config_dump",
    method: "GET",
    does: "everything this proxy knows: workloads, services, policies, certificates, settings",
  },
  { path: "/logging", method: "POST", does: "show or change log levels" },
  { path: "/version", method: "GET", does: "version and build of this proxy" },
  {
    path: "/debug/pprof/profile",
    method: "GET",
    does: "CPU profile for pprof; ?seconds=10&amp;frequency=100",
  },
  {
    path: "/debug/eventloop",
    method: "GET",
    does: "how long connections had to wait for the event loop; ?seconds=10",
  },
  { path: "/quitquitquit", method: "POST", does: "shut down gracefully" },
];

const EXPLAIN: Endpoint = {
  path: "/debug/explain?src=SOURCE&amp;dst=DESTINATION",
  method: "GET",
  does: "what would become of a connection, and why",
};
const DRY_RUN: Endpoint = {
  path: "/debug/dryrun",
  method: "GET",
  does: "connections that policies in dry run would have denied",
};

const CONTROL_PLANE: Endpoint = {
  path: "/debug/controlplane",
  method: "GET",
  does: "the stream to the control plane, what of its pushes was refused, and the revocation lists in force",
};

/** The pages that a process with these options has. */
export function endpointsOf(
  { controlPlane, dryRun, explain }: Pick<AdminOptions, "controlPlane" | "dryRun" | "explain">,
): Endpoint[] {
  return [
    ...ENDPOINTS,
    ...(controlPlane === undefined ? [] : [CONTROL_PLANE]),
    ...(explain === undefined ? [] : [EXPLAIN]),
    ...(dryRun === undefined ? [] : [DRY_RUN]),
  ];
}

/** The page at `/`. */
export function dashboardPage(
  mode: "ztunnel" | "waypoint",
  build: BuildInfo,
  endpoints: readonly Endpoint[],
): string {
  const rows = endpoints.map(({ path, method, does }) => {
    const name = method === "GET" ? `<a href="${path}">${path}</a>` : path;
    return `<tr><td>${method}</td><td>${name}</td><td>${does}</td></tr>`;
  });
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>ambient</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 3rem auto; max-width: 52rem; padding: 0 1rem; color-scheme: light dark; }
table { border-collapse: collapse; width: 100%; }
td { border-top: 1px solid #8884; padding: .4rem .8rem .4rem 0; }
</style>
</head>
<body>
<h1>ambient ${Bun.escapeHTML(build.version)}</h1>
<p>${mode} mode, commit ${Bun.escapeHTML(build.gitRevision)}</p>
<table>
${rows.join("\n")}
</table>
</body>
</html>
`;
}
