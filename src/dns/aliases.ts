/** Which names a query may mean (spec/ztunnel.md §9). Names here are lower case and without the final dot. */

/** One of the names that a query may mean. */
export interface Alias {
  readonly name: string;
  /** The requested name without the search domain that the client's resolver had put behind it; undefined: as asked. */
  readonly stripped: string | undefined;
}

/** Domains that the resolver of a client appends to names, in its order. */
export type SearchDomains = (clientNamespace: string) => readonly string[];

/** What kubelet writes into the resolv.conf of a pod with the policy ClusterFirst. */
export function clusterSearchDomains(clusterDomain: string): SearchDomains {
  return (namespace) => [`${namespace}.svc.${clusterDomain}`, `svc.${clusterDomain}`, clusterDomain];
}

/** Kubernetes' short forms of service names, written out: `server`, `server.ns`, `server.ns.svc`, `pod.server.ns.svc`. */
export function expansions(name: string, clientNamespace: string, clusterDomain: string): string[] {
  const labels = name.split(".").length;
  const service = name.endsWith(".svc");
  const within = `${name}.svc.${clusterDomain}`;
  const own = `${name}.${clientNamespace}.svc.${clusterDomain}`;
  switch (labels) {
    case 1:
      return [own];
    case 2:
      return [within, own];
    case 3:
      return service ? [`${name}.${clusterDomain}`, within] : [within];
    case 4:
      return service ? [`${name}.${clusterDomain}`] : [];
    default:
      return [];
  }
}

/** All names that a query may mean, best first, each once. */
export function aliases(
  name: string,
  clientNamespace: string,
  clusterDomain: string,
  searchDomains: readonly string[],
): Alias[] {
  const list: Alias[] = [];
  const add = (alias: string, stripped: string | undefined) => {
    if (!list.some((other) => other.name === alias)) list.push({ name: alias, stripped });
  };
  add(name, undefined);
  for (const alias of expansions(name, clientNamespace, clusterDomain)) add(alias, undefined);
  for (const domain of searchDomains) {
    if (!name.endsWith(domain) || name.charCodeAt(name.length - domain.length - 1) !== DOT) continue;
    const stripped = name.slice(0, -domain.length - 1);
    if (stripped === "") continue;
    add(stripped, stripped);
    for (const alias of expansions(stripped, clientNamespace, clusterDomain)) add(alias, stripped);
  }
  return list;
}

const DOT = 46;

/** `*.b.c` and `*.c` for `a.b.c`: the wildcards that cover a name, closest first. */
export function wildcards(name: string): string[] {
  const list: string[] = [];
  for (let dot = name.indexOf("."); dot >= 0; dot = name.indexOf(".", dot + 1)) list.push(`*${name.slice(dot)}`);
  return list;
}
