import { expect, test } from "bun:test";
import { type QuestionContext, readDestination, readSource } from "../../src/explain/question.ts";
import { formatAddress } from "../../src/net/address.ts";
import { mesh, pod, service } from "../mesh/fixtures.ts";

const web = pod("web", ["10.0.0.1", "fd00::1"]);
const cart = pod("cart", "10.0.0.2");
const twin = pod("cart", "10.0.0.3", { namespace: "bank", uid: "Kubernetes//Pod/bank/cart" });
const nowhere = pod("nowhere", []);
const shopCart = service("cart", "10.96.0.1");
const two = service("two", "10.96.0.2", { ports: [80, 8080, 443, 8443] });
const headless = service("headless", "");
const dual = service("dual", "", { vips: [{ network: "", ip: "fd96::1" }, { network: "", ip: "10.96.0.3" }] });
const context: QuestionContext = {
  mesh: mesh({
    workloads: [web, cart, twin, nowhere],
    services: [shopCart, two, headless, dual],
    members: [{ of: headless, workload: cart }],
  }),
  network: "",
  clusterDomain: "cluster.local",
};

test.each([
  ["Kubernetes//Pod/shop/web", "10.0.0.1", "web"],
  ["shop/web", "10.0.0.1", "web"],
  ["web", "10.0.0.1", "web"],
  ["fd00:0::1", "fd00::1", "web"],
  ["10.0.0.1", "10.0.0.1", "web"],
  ["bank/cart", "10.0.0.3", "cart"],
  ["192.0.2.1", "192.0.2.1", undefined],
])("the source %s", (text, ip, name) => {
  const source = readSource(context, text);
  expect(source.ok && [source.value.ip, source.value.workload?.name]).toEqual([ip, name]);
});

test.each([
  ["nobody", "no workload nobody: give a uid, namespace/name or an IP"],
  ["cart", "cart is ambiguous: Kubernetes//Pod/shop/cart, Kubernetes//Pod/bank/cart"],
  ["nowhere", "workload nowhere has no address"],
])("the source %s cannot be read", (text, error) => {
  expect(readSource(context, text)).toEqual({ ok: false, error });
});

const fromWeb = { workload: web, ip: "10.0.0.1" };
const fromSix = { workload: web, ip: "fd00::1" };

test.each([
  ["10.96.0.1:80", fromWeb, "10.96.0.1:80"],
  ["10.96.0.1", fromWeb, "10.96.0.1:80"],
  ["[fd00::1]:90", fromWeb, "[fd00::1]:90"],
  ["cart", fromWeb, "10.96.0.1:80"],
  ["cart.shop", fromWeb, "10.96.0.1:80"],
  ["cart.shop.svc", fromWeb, "10.96.0.1:80"],
  ["cart.shop.svc.cluster.local.:81", fromWeb, "10.96.0.1:81"],
  ["shop/cart:80", fromWeb, "10.96.0.1:80"],
  ["shop/cart.shop.svc.cluster.local", fromWeb, "10.96.0.1:80"],
  ["two:443", fromWeb, "10.96.0.2:443"],
  ["headless:80", fromWeb, "10.0.0.2:80"],
  ["dual", fromWeb, "10.96.0.3:80"],
  ["dual", fromSix, "[fd96::1]:80"],
  ["shop/web:8080", fromWeb, "10.0.0.1:8080"],
  ["shop/web:8080", fromSix, "[fd00::1]:8080"],
])("the destination %s, of %p", (text, source, expected) => {
  const found = readDestination(context, text, source);
  expect(found.ok ? formatAddress(found.value) : found.error).toBe(expected);
});

test.each([
  ["two", "two needs a port, one of 80, 443"],
  ["10.0.0.1", "10.0.0.1 needs a port, as in 10.0.0.1:80"],
  ["shop/web", "shop/web needs a port, as in shop/web:80"],
  ["cart:0", "not a port: 0"],
  ["cart:99999", "not a port: 99999"],
  ["cart:http", "not a port: http"],
  ["lost:80", "no service or workload lost: give an IP, a service's host name, or namespace/name"],
  ["nowhere:80", "workload nowhere has no address"],
])("the destination %s cannot be read", (text, error) => {
  expect(readDestination(context, text, fromWeb)).toEqual({ ok: false, error });
});
