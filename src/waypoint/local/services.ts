/** Services of the mesh as routes and clusters see them. */
import type { AppProtocol } from "../../config/local_schema.ts";
import type { Endpoint, Service } from "../../mesh/service.ts";
import { serviceKey } from "../../mesh/service.ts";
import type { Workload } from "../../mesh/workload.ts";
import type { LocalInput } from "./input.ts";

/** What a port's traffic is: HTTP, bytes, or whatever the client begins with. */
export type PortKind = "http" | "tcp" | "undeclared" | "udp";

const KINDS: Readonly<Record<AppProtocol, PortKind>> = {
  HTTP: "http",
  HTTP2: "http",
  GRPC: "http",
  TCP: "tcp",
  TLS: "tcp",
  HTTPS: "tcp",
  MONGO: "tcp",
  REDIS: "tcp",
  MYSQL: "tcp",
  UDP: "udp",
};

export interface Member {
  readonly workload: Workload;
  readonly endpoint: Endpoint;
}

export class ServiceTable {
  readonly #byName = new Map<string, Service>();
  readonly #members = new Map<string, Member[]>();
  readonly #appProtocols: LocalInput["appProtocols"];
  /** Keys of the services that this waypoint serves. */
  readonly #owned: ReadonlySet<string>;

  constructor({ mesh, appProtocols }: LocalInput, owned: readonly Service[]) {
    this.#appProtocols = appProtocols;
    this.#owned = new Set(owned.map(serviceKey));
    for (const service of mesh.services) {
      const name = `${service.namespace}/${service.name}`;
      if (!this.#byName.has(name)) this.#byName.set(name, service);
    }
    const workloads = new Map(mesh.workloads.map((workload) => [workload.uid, workload]));
    for (const { service, workloadUid, endpoint } of mesh.memberships) {
      const workload = workloads.get(workloadUid);
      if (workload === undefined) continue;
      const members = this.#members.get(service);
      if (members === undefined) this.#members.set(service, [{ workload, endpoint }]);
      else addMember(members, { workload, endpoint });
    }
  }

  /** By name of the Service object. */
  find(namespace: string, name: string): Service | undefined {
    return this.#byName.get(`${namespace}/${name}`);
  }

  isOwned(service: Service): boolean {
    return this.#owned.has(serviceKey(service));
  }

  members(service: Service): readonly Member[] {
    return this.#members.get(serviceKey(service)) ?? [];
  }

  protocol(service: Service, port: number): AppProtocol | undefined {
    return this.#appProtocols.get(serviceKey(service))?.[String(port)];
  }

  /** Whether its clients may speak TLS: only then is what they say looked at for a server name. */
  carriesTls(service: Service, port: number): boolean {
    const protocol = this.protocol(service, port);
    return protocol === "TLS" || protocol === "HTTPS";
  }

  kind(service: Service, port: number): PortKind {
    const protocol = this.protocol(service, port);
    return protocol === undefined ? "undeclared" : KINDS[protocol];
  }
}

/** A membership may be written in both records: the workload's word, which comes later, counts. */
function addMember(members: Member[], member: Member): void {
  const at = members.findIndex(({ workload }) => workload.uid === member.workload.uid);
  if (at < 0) members.push(member);
  else members[at] = member;
}

/** Ports of a service, in their order. */
export function portsOf(service: Service): number[] {
  return service.ports.filter((_, i) => i % 2 === 0);
}
