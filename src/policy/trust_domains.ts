/** Trust domain aliases: one principal of a policy stands for the same account in all of the mesh's own trust domains. */

/** How istiod writes the mesh's own trust domain when it does not know its name. */
const LOCAL = "cluster.local";
const PARTS = 5; // <trust domain>/ns/<namespace>/sa/<service account>

/**
 * The principals as they are to be compared. `trustDomains`: the mesh's own first, then its aliases. A principal of one of
 * them (or of `cluster.local`) becomes one for each; of a foreign domain, or without one, it stays as it is.
 */
export function expandTrustDomains(principals: readonly string[], trustDomains: readonly string[]): string[] {
  const expanded: string[] = [];
  for (const principal of principals) {
    const parts = principal.split("/");
    const domain = parts[0] ?? "";
    if (parts.length !== PARTS || domain === "*" || !(domain === LOCAL || ours(domain, trustDomains))) {
      expanded.push(principal);
      continue;
    }
    const account = principal.slice(domain.length);
    const variants = new Set<string>();
    for (const own of trustDomains) {
      const covered = domain.startsWith("*") && own.endsWith(domain.slice(1));
      variants.add(covered ? principal : own + account);
    }
    expanded.push(...variants);
  }
  return expanded;
}

/** Equal, or by a wildcard on either side. */
function ours(domain: string, trustDomains: readonly string[]): boolean {
  return trustDomains.some((own) => covers(own, domain) || covers(domain, own));
}

function covers(pattern: string, text: string): boolean {
  if (pattern === text || pattern === "*") return true;
  if (pattern.endsWith("*") && text.startsWith(pattern.slice(0, -1))) return true;
  return pattern.startsWith("*") && text.endsWith(pattern.slice(1));
}
