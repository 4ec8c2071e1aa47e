import { expect, test } from "bun:test";
import { type Baggage, formatBaggage, parseBaggage } from "../../src/hbone/baggage.ts";
import { newWorkload, type Workload } from "../../src/mesh/mod.ts";

const full = newWorkload({
  namespace: "default",
  clusterId: "c1",
  workloadType: "deployment",
  workloadName: "server-dep",
  canonicalName: "server-canon",
  canonicalRevision: "v1",
  locality: { region: "r1", zone: "z1", subzone: "s1" },
});

const written: [workload: Workload, header: string][] = [
  [
    full,
    "k8s.cluster.name=c1,k8s.namespace.name=default,k8s.deployment.name=server-dep,service.name=server-canon," +
    "service.version=v1,cloud.region=r1,cloud.availability_zone=z1",
  ],
  [
    { ...full, locality: { region: "", zone: "", subzone: "" } },
    "k8s.cluster.name=c1,k8s.namespace.name=default,k8s.deployment.name=server-dep,service.name=server-canon," +
    "service.version=v1",
  ],
  [newWorkload({ workloadType: "pod", workloadName: "a" }), "k8s.pod.name=a"],
  [newWorkload({ canonicalRevision: "v1" }), "service.version=v1"],
  [newWorkload({}), ""],
];
test.each(written)("written", (workload, header) => {
  expect(formatBaggage(workload)).toBe(header);
});

function found(given: Partial<Baggage>): Baggage {
  return {
    clusterId: undefined,
    namespace: undefined,
    workloadType: undefined,
    workloadName: undefined,
    serviceName: undefined,
    revision: undefined,
    region: undefined,
    zone: undefined,
    ...given,
  };
}

const read: [headers: string[], baggage: Partial<Baggage>][] = [
  [[formatBaggage(full)], {
    clusterId: "c1",
    namespace: "default",
    workloadType: "deployment",
    workloadName: "server-dep",
    serviceName: "server-canon",
    revision: "v1",
    region: "r1",
    zone: "z1",
  }],
  [[], {}],
  [[""], {}],
  [[",,=,x,k8s.pod.name"], {}],
  [["service.name=a", "service.version=b"], { serviceName: "a", revision: "b" }],
  [["service.name=a=b"], { serviceName: "a=b" }],
  [["service.name="], {}],
  [["service.name=a, service.version=b"], { serviceName: "a" }],
  [["service.name=a,service.name=b"], { serviceName: "b" }],
  [["k8s.job.name=a"], { workloadType: "job", workloadName: "a" }],
  [["k8s.cronjob.name=a"], { workloadType: "cronjob", workloadName: "a" }],
  [["k8s.replicaset.name=a"], {}],
  [["__proto__=x,constructor=y"], {}],
];
test.each(read)("read %j", (headers, baggage) => {
  expect(parseBaggage(headers)).toEqual(found(baggage));
});

test("whatever the bytes, the parser returns texts", () => {
  let state = 7;
  const next = (below: number) => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) % below;
  const parts = ["k8s.pod.name", "service.name", "=", ",", " ", "\0", "é", "a", "cloud.region="];
  for (let i = 0; i < 5000; i++) {
    const header = Array.from({ length: next(12) }, () => parts[next(parts.length)]).join("");
    for (const value of Object.values(parseBaggage([header]))) {
      expect(value === undefined || (typeof value === "string" && value !== "" && !value.includes(","))).toBe(true);
    }
  }
});
