import { expect, test } from "bun:test";
import { authorize, newMatch, type Policy, type PolicySet } from "../../src/policy/mod.ts";
import { AccessLog, MetricRegistry, TrafficMetrics } from "../../src/telemetry/mod.ts";
import { Connection, type ConnectionFailure } from "../../src/ztunnel/connection.ts";
import { ConnectionTracker } from "../../src/ztunnel/tracker.ts";
import { address, mesh, pod } from "../mesh/fixtures.ts";
import { keptLogger } from "../telemetry/lines.ts";

const RECORD = pod("server", "10.0.0.2");
const log = new AccessLog(keptLogger().logger);
const traffic = new TrafficMetrics(new MetricRegistry());

/** One that was let in to a port and asks the policies as an inbound one does. */
class Admitted extends Connection {
  readonly direction = "inbound" as const;
  readonly #port: number;
  why: string | undefined;

  constructor(tracker: ConnectionTracker, port: number) {
    super(log, tracker);
    this.#port = port;
    tracker.recordKnown(RECORD);
    const flow = {
      reporter: "destination",
      security: "unknown",
      source: undefined,
      sourceIdentity: undefined,
      destination: RECORD,
      service: undefined,
    } as const;
    this.opened(traffic.lookup(flow), { source: address("10.0.0.1:1"), destination: address(`10.0.0.2:${port}`) });
  }

  override recheck(policies: PolicySet): ConnectionFailure | undefined {
    const flow = { sourceIp: "10.0.0.1", destinationIp: "10.0.0.2", destinationPort: this.#port, identity: undefined };
    const verdict = authorize(policies, flow);
    return verdict.allowed ? undefined : { text: verdict.rejection, flag: "DENY", retryable: false };
  }

  override cut(failure: ConnectionFailure): void {
    this.why = failure.text;
    super.cut(failure);
  }

  protected override abandon(): void {}

  override summary(): never {
    throw new Error("nobody asks");
  }
}

function deny(name: string, port: number): Policy {
  const rules = [[[newMatch({ destinationPorts: [port] })]]];
  return { namespace: "shop", name, scope: "Namespace", action: "Deny", rules, dryRun: false };
}

test("a policy that comes when the pod's record is gone cuts what it denies, and nothing else", () => {
  const tracker = new ConnectionTracker(undefined);
  const [denied, allowed] = [new Admitted(tracker, 80), new Admitted(tracker, 81)];
  expect(tracker.recheck(mesh({ workloads: [RECORD] }), RECORD)).toBe(0);
  expect(tracker.recheck(mesh({}), undefined)).toBe(0);
  expect(tracker.recheck(mesh({ policies: [deny("web", 80)] }), undefined)).toBe(1);
  expect([denied.why, allowed.why]).toEqual(["explicitly denied by: shop/web", undefined]);
  expect(tracker.size).toBe(1);
});

test("so does one that comes together with the record's end", () => {
  const tracker = new ConnectionTracker(undefined);
  const denied = new Admitted(tracker, 80);
  expect(tracker.recheck(mesh({ policies: [deny("web", 80)] }), undefined)).toBe(1);
  expect(denied.ended).toBe(true);
});

test("a connection that cannot be asked is cut and reported, one that cannot be cut reported; the others are asked", () => {
  const bugs: string[] = [];
  const tracker = new ConnectionTracker(undefined, ({ message }) => void bugs.push(message));
  const [unasked, uncut, denied] = [new Admitted(tracker, 80), new Admitted(tracker, 80), new Admitted(tracker, 80)];
  unasked.recheck = () => {
    throw new Error("a bug");
  };
  uncut.cut = () => {
    throw new Error("another");
  };
  expect(tracker.recheck(mesh({ policies: [deny("web", 80)] }), undefined)).toBe(3);
  expect([unasked.why, denied.why]).toEqual(["internal error: a bug", "explicitly denied by: shop/web"]);
  expect(bugs).toEqual(["a bug", "another"]);
});

test("without any connection there is nothing to ask", () => {
  expect(new ConnectionTracker(undefined).recheck(mesh({ policies: [deny("web", 80)] }), undefined)).toBe(0);
});
