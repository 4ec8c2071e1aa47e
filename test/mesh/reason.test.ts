import { expect, test } from "bun:test";
import { destinationOf, resolveOutbound } from "../../src/mesh/mod.ts";
import { address, infoOf, mesh, pod, service, SETTINGS } from "./fixtures.ts";

const client = pod("client", "10.0.0.1");
const web = pod("web", "10.0.0.2");
const cart = service("cart", "10.96.0.1");
const empty = service("empty", "10.96.0.2");
const state = mesh({
  workloads: [client, web],
  services: [cart, empty],
  members: [{ of: cart, workload: web }],
});

function meantFor(destination: string): [workload: string | undefined, service: string | undefined] {
  const flow = {
    info: infoOf(client),
    source: client,
    downstream: address("10.0.0.1:1"),
    destination: address(destination),
  };
  const { workload, service: of } = destinationOf(resolveOutbound(state, flow, SETTINGS).reasons);
  return [workload?.name, of?.name];
}

test.each([
  ["10.96.0.1:80", "web", "cart"],
  ["10.96.0.1:81", undefined, "cart"],
  ["10.96.0.2:80", undefined, "empty"],
  ["10.0.0.2:80", "web", undefined],
  ["192.0.2.1:80", undefined, undefined],
])("the reasons of a flow to %s tell whom it was meant for", (destination, workload, of) => {
  expect(meantFor(destination)).toEqual([workload, of]);
});
