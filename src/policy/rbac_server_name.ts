/** Whether rules ask for the server name of TLS: a chain that does not know it must not let anything past them. */
import type { Permission, Rbac } from "./rbac.ts";

function reads(permission: Permission): boolean {
  switch (permission.kind) {
    case "and":
    case "or":
      return permission.rules.some(reads);
    case "not":
      return reads(permission.rule);
    default:
      return permission.kind === "server-name";
  }
}

/** Of what is enforced: neither dry runs nor LOG decide anything. */
export function readsServerName(filters: readonly Rbac[]): boolean {
  return filters.some(({ action, policies = [] }) =>
    action !== "LOG" && policies.some(({ permissions }) => permissions.some(reads))
  );
}
