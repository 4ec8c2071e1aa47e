/**
 * A small cluster on one machine: nodes, each a network namespace with a bridge, and pods, each a network namespace with
 * `eth0` on its node's bridge. Nodes know routes to each other's pods. Everything lives in namespaces of its own, so the
 * addresses can clash with nothing.
 *
 *     pod 10.77.1.10 ── br0 node a 10.77.0.1 ══ link ══ 10.77.0.2 node b br0 ── pod 10.77.2.10
 */
import { must } from "./commands.ts";
import type { Redirector } from "./host.ts";
import { makeScratchDirectory, removePath } from "./ledger.ts";
import { hasIpv6, NetworkNamespace } from "./namespace.ts";
import { redirectPod } from "./redirection.ts";

/** Which addresses a pod has: those of a cluster of one family, or of both. */
export type Addresses = "dual" | "ipv4" | "ipv6";

export interface PodPlan {
  readonly name: string;
  /** Index into the node list. */
  readonly node: number;
  /** Whether istio-cni's redirection rules are in its namespace. */
  readonly captured: boolean;
  /** Default: dual where the host has IPv6, else ipv4. */
  readonly addresses?: Addresses;
}

export interface LabPlan {
  readonly redirector: Redirector;
  readonly nodes: readonly string[];
  readonly pods: readonly PodPlan[];
  readonly dnsCapture?: boolean;
}

export interface LabNode {
  readonly name: string;
  readonly namespace: NetworkNamespace;
  /** Address on the link between nodes. */
  readonly ip: string;
  readonly gateway: string;
  /** Name of the interface towards the other nodes, where a wire tap sees what leaves the node. */
  readonly uplink: string;
}

export interface LabPod {
  readonly name: string;
  readonly uid: string;
  readonly node: LabNode;
  readonly namespace: NetworkNamespace;
  /** Its first address: IPv4 where it has one. */
  readonly ip: string;
  readonly ip6: string | undefined;
  /** All its addresses, the first one first. */
  readonly ips: readonly string[];
  readonly captured: boolean;
}

const NODE_BASE = 1;
/** Last byte of the addresses of machines beside the nodes. */
const OUTSIDE_BASE = 200;
const POD_BASE = 10;
/** Pods of a node that were there, one after the other, before the addresses of removed ones come again. */
const FRESH_PLACES = 180;
const BRIDGE = "br0";

export class Lab {
  readonly nodes: readonly LabNode[];
  /** A directory of the lab's own for sockets, configuration and keys; removed with it. */
  readonly directory: string;
  readonly #pods = new Map<string, LabPod>();
  readonly #plan: LabPlan;
  readonly #ipv6 = hasIpv6();
  readonly #hub: NetworkNamespace;
  readonly #podsOnNode: number[];
  /** By node: places of removed pods, the first one free first. */
  readonly #freePlaces: number[][];
  readonly #places = new Map<LabPod, { readonly node: number; readonly place: number }>();
  readonly #outside: NetworkNamespace[] = [];

  /** @throws CommandError; what was made until then is removed */
  constructor(plan: LabPlan) {
    this.#plan = plan;
    this.directory = makeScratchDirectory();
    this.#podsOnNode = plan.nodes.map(() => 0);
    this.#freePlaces = plan.nodes.map(() => []);
    // The link between nodes is a bridge in a namespace of its own: any number of nodes, none of them special.
    this.#hub = new NetworkNamespace("wire");
    try {
      this.#hub.configure();
      this.#hub.run(["sh", "-c", `ip link add ${BRIDGE} type bridge && ip link set ${BRIDGE} up`]);
      this.nodes = plan.nodes.map((name, index) => this.#makeNode(name, index));
      for (const pod of plan.pods) this.addPod(pod);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  get pods(): readonly LabPod[] {
    return [...this.#pods.values()];
  }

  pod(name: string): LabPod {
    const pod = this.#pods.get(name);
    if (pod === undefined) throw new Error(`the lab has no pod ${name}`);
    return pod;
  }

  node(index: number): LabNode {
    const node = this.nodes[index];
    if (node === undefined) throw new Error(`the lab has no node ${index}`);
    return node;
  }

  addPod(plan: PodPlan): LabPod {
    const node = this.node(plan.node);
    const place = this.#takePlace(plan.node);
    const host = POD_BASE + place - 1;
    const subnet = NODE_BASE + plan.node;
    const addresses = plan.addresses ?? (this.#ipv6 ? "dual" : "ipv4");
    if (addresses !== "ipv4" && !this.#ipv6) {
      throw new Error(`pod ${plan.name} wants IPv6, which this host does not have`);
    }
    const namespace = new NetworkNamespace(plan.name);
    // A cluster without IPv6 has it off on every interface, lo included.
    namespace.configure(addresses === "ipv4" ? { "net/ipv6/conf/all/disable_ipv6": "1" } : {});
    const ip4 = addresses === "ipv6" ? undefined : `10.77.${subnet}.${host}`;
    const ip6 = addresses === "ipv4" ? undefined : `fd77:${subnet}::${host.toString(16)}`;
    const ips = [ip4, ip6].filter((ip) => ip !== undefined);
    const port = `pod${place}`;
    const pair = ["type", "veth", "peer", "name", port, "netns", node.namespace.name];
    must(["ip", "-n", namespace.name, "link", "add", "eth0", ...pair]);
    must(["ip", "-n", node.namespace.name, "-batch", "-"], `link set ${port} master ${BRIDGE}\nlink set ${port} up\n`);
    const commands = [
      ...(ip4 === undefined ? [] : [`addr add ${ip4}/24 dev eth0`]),
      ...(ip6 === undefined ? [] : [`addr add ${ip6}/64 dev eth0 nodad`]),
      "link set eth0 up",
      ...(ip4 === undefined ? [] : [`route add default via ${node.gateway}`]),
      ...(ip6 === undefined ? [] : [`route add ::/0 via fd77:${subnet}::1`]),
    ];
    must(["ip", "-n", namespace.name, "-batch", "-"], `${commands.join("\n")}\n`);
    if (plan.captured) {
      redirectPod(namespace.path, {
        redirector: this.#plan.redirector,
        ipv6: ip6 !== undefined,
        dnsCapture: this.#plan.dnsCapture ?? false,
      });
    }
    const pod: LabPod = {
      name: plan.name,
      uid: crypto.randomUUID(),
      node,
      namespace,
      ip: ips[0] as string,
      ip6,
      ips,
      captured: plan.captured,
    };
    this.#pods.set(plan.name, pod);
    this.#places.set(pod, { node: plan.node, place });
    return pod;
  }

  removePod(name: string): void {
    const pod = this.pod(name);
    pod.namespace.remove();
    this.#pods.delete(name);
    const taken = this.#places.get(pod);
    this.#places.delete(pod);
    if (taken !== undefined) this.#freePlaces[taken.node]?.push(taken.place);
  }

  /** Which pod of its node a new one is: its address and its port follow from it. */
  #takePlace(node: number): number {
    const made = this.#podsOnNode[node] ?? 0;
    const free = made < FRESH_PLACES ? undefined : this.#freePlaces[node]?.shift();
    if (free !== undefined) return free;
    this.#podsOnNode[node] = made + 1;
    return made + 1;
  }

  /** A machine on the link between nodes, which knows no way to pods: nodes reach it, pods do not. */
  addOutside(label: string): { readonly namespace: NetworkNamespace; readonly ip: string } {
    const place = OUTSIDE_BASE + this.#outside.length;
    const namespace = new NetworkNamespace(label);
    this.#outside.push(namespace);
    namespace.configure();
    const port = `out${place}`;
    const pair = ["type", "veth", "peer", "name", port, "netns", this.#hub.name];
    must(["ip", "-n", namespace.name, "link", "add", "eth0", ...pair]);
    must(["ip", "-n", this.#hub.name, "-batch", "-"], `link set ${port} master ${BRIDGE}\nlink set ${port} up\n`);
    const ip = `10.77.0.${place}`;
    must(["ip", "-n", namespace.name, "-batch", "-"], `addr add ${ip}/24 dev eth0\nlink set eth0 up\n`);
    return { namespace, ip };
  }

  /** Removes every namespace and the scratch directory. Processes are the business of those who started them. */
  close(): void {
    for (const pod of this.#pods.values()) pod.namespace.remove();
    this.#pods.clear();
    for (const node of this.nodes ?? []) node.namespace.remove();
    for (const namespace of this.#outside) namespace.remove();
    this.#hub.remove();
    removePath(this.directory);
  }

  #makeNode(name: string, index: number): LabNode {
    const namespace = new NetworkNamespace(`node-${name}`);
    namespace.configure({ "net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1" });
    const subnet = NODE_BASE + index;
    const ip = `10.77.0.${subnet}`;
    const gateway = `10.77.${subnet}.1`;
    const port = `node${subnet}`;
    must([
      "ip",
      "-n",
      namespace.name,
      "link",
      "add",
      "uplink",
      "type",
      "veth",
      "peer",
      "name",
      port,
      "netns",
      this.#hub.name,
    ]);
    must(["ip", "-n", this.#hub.name, "-batch", "-"], `link set ${port} master ${BRIDGE}\nlink set ${port} up\n`);
    const commands = [
      // An address of its own: else it is the least of its ports', changes with them, and neighbours lose their gateway.
      `link add ${BRIDGE} address 02:77:00:00:00:0${subnet} type bridge`,
      `addr add ${gateway}/24 dev ${BRIDGE}`,
      `addr add ${ip}/24 dev uplink`,
      ...(this.#ipv6
        ? [`addr add fd77:${subnet}::1/64 dev ${BRIDGE} nodad`, `addr add fd77::${subnet}/64 dev uplink nodad`]
        : []),
      `link set ${BRIDGE} up`,
      "link set uplink up",
    ];
    this.#plan.nodes.forEach((_, other) => {
      if (other === index) return;
      const remote = NODE_BASE + other;
      commands.push(`route add 10.77.${remote}.0/24 via 10.77.0.${remote}`);
      if (this.#ipv6) commands.push(`route add fd77:${remote}::/64 via fd77::${remote}`);
    });
    must(["ip", "-n", namespace.name, "-batch", "-"], `${commands.join("\n")}\n`);
    return { name, namespace, ip, gateway, uplink: "uplink" };
  }
}
