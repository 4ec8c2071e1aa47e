import { describe, expect, test } from "bun:test";
import { parseLocalState } from "../../src/config/local_parse.ts";
import { GATEWAY } from "../waypoint/local/fixture.ts";

interface Given {
  readonly waypoint?: string;
  readonly port?: number;
  /** Ports of the waypoint's service. */
  readonly ports?: string;
  /** The waypoint's workload has these services. */
  readonly services?: string;
  readonly gateway?: boolean;
}

const WAYPOINT = "shop/wp.shop.svc.cluster.local";

/** Errors as `! …`, else warnings; for a ztunnel, with places. */
function told(given: Given = {}): string[] {
  const { waypoint = WAYPOINT, port = 15008, ports = "{15008: 15008}", gateway = true } = given;
  const services = given.services ?? `{${WAYPOINT}: {}}`;
  const text = `
workloads:
- {name: web-1, namespace: shop, workloadIps: [10.0.0.1], services: {shop/web: {80: 80}}}
- {name: wp-1, namespace: shop, workloadIps: [10.0.0.9], protocol: HBONE, trustDomain: td, serviceAccount: wp,
  services: ${services}}
services:
- {name: wp, namespace: shop, hostname: wp.shop.svc.cluster.local, vips: [/10.96.0.9], ports: ${ports}}
- name: web
  namespace: shop
  hostname: web
  vips: [/10.96.0.1]
  ports: {80: 80}
  waypoint: {destination: ${waypoint}, hboneMtlsPort: ${port}}
${gateway ? `---${GATEWAY}` : ""}`;
  const result = parseLocalState([{ path: "a.yaml", text }]);
  const show = (mark: string) => ({ line, message }: { line?: number | undefined; message: string }) =>
    `${mark}${line} ${message}`;
  return result.ok ? result.warnings.map(show("")) : result.errors.map(show("! "));
}

const ONLY = "which serves tunnels at port 15008 only";

describe("the tunnel's port", () => {
  test.each<[name: string, given: Given, ...expected: string[]]>([
    ["as it is", {}],
    ["by virtual address", { waypoint: "/10.96.0.9" }],
    ["by the workload's address", { waypoint: "/10.0.0.9" }],
    ["mapped to it", { port: 443, ports: "{443: 15008}" }],
    [
      "no port of the service",
      { port: 15009 },
      `! 13 services[1].waypoint.hboneMtlsPort: waypoint ${WAYPOINT} has no port 15009; it has 15008`,
    ],
    [
      "one that leads elsewhere",
      { port: 80, ports: "{80: 8080}" },
      `! 13 services[1].waypoint.hboneMtlsPort: port 80 of ${WAYPOINT} leads to 8080, and is a waypoint, ${ONLY}`,
    ],
    ["elsewhere, but it is no Gateway's", { port: 80, ports: "{80: 8080}", gateway: false }],
    [
      "of a workload",
      { waypoint: "/10.0.0.9", port: 15009 },
      `! 13 services[1].waypoint.hboneMtlsPort: workload shop/wp-1 is a waypoint, ${ONLY}`,
    ],
    ["of a workload that is no Gateway's", { waypoint: "/10.0.0.9", port: 15009, gateway: false }],
  ])("%s", (_name, given, ...expected) => expect(told(given)).toEqual(expected));
});

test("a waypoint without workload, which is a service without endpoint too", () => {
  expect(told({ services: "{}" })).toEqual([
    `7 services[0].name: service ${WAYPOINT} has no endpoint: no workload names it, connections to it fail`,
    `13 services[1].waypoint: waypoint ${WAYPOINT} has no workload that serves port 15008: ` +
    "connections through it are refused",
  ]);
});
