import { expect, test } from "bun:test";
import { clusterSearchDomains, lookupName, type NameSettings } from "../../src/dns/mod.ts";
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
const bankOnly = service("vault", "10.96.0.4", { namespace: "bank" });
const hidden = service("hidden", "10.96.0.5", { namespace: "bank", visibility: "Namespace" });
const external = service("ext", "10.96.0.6", { hostname: "api.example.com" });
const wildcard = service("wild", "10.96.0.7", { hostname: "*.wild.example" });
const elsewhere = service("elsewhere", "", { hostname: "elsewhere.example" });
const six = service("six", "fd96::6", { ports: [80, 8080, 81, 8081] });
const names: NameSettings = {
  clusterDomain: "cluster.local",
  searchDomains: clusterSearchDomains("cluster.local"),
  preferredNamespace: undefined,
  ipv6: true,
};
const context: QuestionContext = {
  mesh: mesh({
    workloads: [web, cart, twin, nowhere],
    services: [shopCart, two, headless, dual, bankOnly, hidden, external, wildcard, elsewhere, six],
    members: [{ of: headless, workload: cart }],
  }),
  network: "",
  names,
};

test.each([
  ["Kubernetes//Pod/shop/web", "10.0.0.1", "web"],
  ["shop/web", "10.0.0.1", "web"],
  ["web", "10.0.0.1", "web"],
  ["fd00:0::1", "fd00::1", "web"],
  ["10.0.0.1", "10.0.0.1", "web"],
  ["[fd00::1]", "fd00::1", "web"],
  ["[2001:db8::1]", "2001:db8::1", undefined],
  ["bank/cart", "10.0.0.3", "cart"],
  ["192.0.2.1", "192.0.2.1", undefined],
])("the source %s", (text, ip, name) => {
  const source = readSource(context, text);
  expect(source.ok && [source.value.ip, source.value.workload?.name]).toEqual([ip, name]);
});

test.each([
  ["nobody", "no workload nobody: give a uid, namespace/name or an IP"],
  ["cart", "cart is ambiguous: Kubernetes//Pod/bank/cart, Kubernetes//Pod/shop/cart"],
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
  ["Cart.Shop:80", fromWeb, "10.96.0.1:80"],
  ["CART.shop.SVC.Cluster.Local.", fromWeb, "10.96.0.1:80"],
  ["API.example.com", fromWeb, "10.96.0.6:80"],
  ["a.b.wild.example", fromWeb, "10.96.0.7:80"],
  ["vault.bank", fromWeb, "10.96.0.4:80"],
  ["bank/vault", fromWeb, "10.96.0.4:80"],
  ["shop/cart:80", fromWeb, "10.96.0.1:80"],
  ["shop/cart.shop.svc.cluster.local", fromWeb, "10.96.0.1:80"],
  ["two:443", fromWeb, "10.96.0.2:443"],
  ["headless:80", fromWeb, "10.0.0.2:80"],
  ["dual", fromWeb, "10.96.0.3:80"],
  ["dual", fromSix, "[fd96::1]:80"],
  ["shop/web:8080", fromWeb, "10.0.0.1:8080"],
  ["shop/web:8080", fromSix, "[fd00::1]:8080"],
  ["fd00:0:0:0:0:0:0:4:8080", fromSix, "[fd00::4]:8080"],
  ["[fd96::6]:80", fromSix, "[fd96::6]:80"],
])("the destination %s, of %p", (text, source, expected) => {
  const found = readDestination(context, text, source);
  expect(found.ok ? formatAddress(found.value.address) : found.error).toBe(expected);
});

test.each([
  ["two", "two needs a port, one of 80, 443"],
  ["10.0.0.1", "10.0.0.1 needs a port, as in 10.0.0.1:80"],
  ["shop/web", "shop/web needs a port, as in shop/web:80"],
  ["fd00::3", "fd00::3 needs a port, as in [fd00::3]:80"],
  ["[fd00::3]", "[fd00::3] needs a port, as in [fd00::3]:80"],
  ["fd96::6", "fd96::6 needs a port, one of 80, 81"],
  [
    "fd00::4:8080",
    "fd00::4:8080 needs a port, as in [fd00::4:8080]:80; brackets part an IPv6 address from its port: " +
    "did you mean [fd00::4]:8080?",
  ],
  ["10.0.0.1:0", "not a port: 0"],
  ["[fd00::4]:0", "not a port: 0"],
  ["cart:0", "not a port: 0"],
  ["cart:99999", "not a port: 99999"],
  ["cart:http", "not a port: http"],
  ["lost:80", "no service or workload lost: give an IP, a service's host name, or namespace/name"],
  [
    "vault:80",
    "no service or workload vault: give an IP, a service's host name, or namespace/name; did you mean vault.bank?",
  ],
  [
    "shop/vault",
    "no service or workload shop/vault: give an IP, a service's host name, or namespace/name; did you mean vault.bank?",
  ],
  [
    "bank/web:80",
    "no service or workload bank/web: give an IP, a service's host name, or namespace/name; did you mean shop/web?",
  ],
  ["hidden:80", "no service or workload hidden: give an IP, a service's host name, or namespace/name"],
  [
    "lost.shop.svc.cluster.local:80",
    "no service or workload lost.shop.svc.cluster.local: give an IP, a service's host name, or namespace/name",
  ],
  [
    "example.com:80",
    "example.com is no name of the mesh, so other name servers answer for it: ask about the IP that they give",
  ],
  [
    "vault.shop:80",
    "vault.shop is no name of the mesh, so other name servers answer for it: ask about the IP that they give; " +
    "did you mean vault.bank?",
  ],
  [
    "elsewhere.example:80",
    "service shop/elsewhere.example has no address of the mesh, so other name servers answer for elsewhere.example: " +
    "ask about the IP that they give",
  ],
  ["nowhere:80", "workload nowhere has no address"],
])("the destination %s cannot be read", (text, error) => {
  expect(readDestination(context, text, fromWeb)).toEqual({ ok: false, error });
});

test("a host name leads where the DNS proxy sends the pod", () => {
  const subjects = [
    "cart",
    "CART",
    "cart.shop",
    "cart.bank",
    "vault",
    "vault.bank.svc",
    "hidden.bank",
    "api.example.com",
  ];
  const expected = subjects.map((subject) => {
    const answer = lookupName(context.mesh, web, subject.toLowerCase(), "IPv4", names, () => 0);
    return answer.found ? answer.addresses[0] : undefined;
  });
  expect(expected).toContain(undefined);
  const said = subjects.map((subject) => {
    const found = readDestination(context, `${subject}:80`, fromWeb);
    return found.ok ? found.value.address.ip : undefined;
  });
  expect(said).toEqual(expected);
});

test("a name of a service and of pods is the service's, and the answer says so", () => {
  const notes = (text: string) => {
    const found = readDestination(context, text, fromWeb);
    return found.ok ? found.value.notes : [found.error];
  };
  const read =
    "is read as service shop/cart.shop.svc.cluster.local, and not as the pod of that name: ask for that by uid";
  expect(notes("cart")).toEqual([`cart ${read} (Kubernetes//Pod/bank/cart, Kubernetes//Pod/shop/cart)`]);
  expect(notes("shop/cart")).toEqual([`shop/cart ${read} (Kubernetes//Pod/shop/cart)`]);
  expect(notes("two:80")).toEqual([]);
  expect(notes("cart.shop")).toEqual([]);
  expect(notes("Kubernetes//Pod/shop/cart:8080")).toEqual([]);
});
