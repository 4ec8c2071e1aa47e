/**
 * All that can go wrong on the way to istiod: the user reads what it is, traffic does not notice, and what istiod says
 * is in force again without anybody's doing (spec/ztunnel.md §3.1, §3.2).
 */
import { afterEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { ADDRESS_TYPE, type Break, type Istiod, policyText } from "../../istiod/mod.ts";
import { Action, Scope } from "../../../proto/gen/authorization_pb.ts";
import { labSuite } from "../fixture.ts";
import { LAB_NAMESPACE, total } from "../mesh/mod.ts";
import { eventually } from "../topology/mod.ts";
import { Bystanders, figures } from "./bystanders.ts";
import { ControlledMesh, controlledMesh, logLine, PORT } from "./fixture.ts";

/** Of a fault and its end; ms. The back-off may have grown to some seconds. */
const FAULT_MS = 90_000;
/** Pings go out every 30 s and are waited for 10 s. */
const STALL_MS = 90_000;

interface Fault {
  readonly name: string;
  readonly make: (istiod: Istiod) => Promise<unknown>;
  /** The line that the user reads: its message, and what its error says. */
  readonly line: string;
  readonly error: RegExp;
  readonly mend?: (istiod: Istiod) => Promise<unknown>;
  /** Reason in istio_xds_connection_terminations. */
  readonly reason: "ConnectionError" | "Reconnect" | "Error" | "Complete";
}

const DISCONNECTED = "disconnected from the control plane";
const UNCONNECTED = "cannot connect to the control plane";

const broken = (name: string, how: Break, error: RegExp, reason: Fault["reason"]): Fault => ({
  name,
  make: (istiod) => istiod.breakStreams(how),
  line: DISCONNECTED,
  error,
  reason,
});

/** What is wrong with the server is found out by who connects: the stream is cut. */
const cut = (istiod: Istiod) => istiod.breakStreams({ how: "tcp reset" });
const LOST = /error="lost the connection to 10\.77\.0\.200:15012: .+"/;

const FAULTS: readonly Fault[] = [
  broken(
    "ended with a status",
    { how: "status", code: 14, message: "server is shutting down" },
    /error="UNAVAILABLE: server is shutting down"/,
    "Error",
  ),
  broken(
    "ended in order",
    { how: "status", code: 0, message: "" },
    /error="the control plane ended the stream"/,
    "Complete",
  ),
  broken("reset", { how: "reset stream", code: 8 }, /error="the server reset the stream: CANCEL"/, "Reconnect"),
  broken(
    "told to go away, and cut",
    { how: "goaway", code: 11, end: true },
    /the server is going away \(GOAWAY ENHANCE_YOUR_CALM\)"/,
    "Reconnect",
  ),
  broken("cut by a TCP reset", { how: "tcp reset" }, LOST, "Reconnect"),
  broken("cut by the end of the connection", { how: "tcp end" }, LOST, "Reconnect"),
  broken("cut in the middle of a message", { how: "half a message" }, LOST, "Reconnect"),
  {
    name: "refused with a status",
    make: async (istiod) => {
      await istiod.setDiscovery({ refuse: { code: 8, message: "too many streams" } });
      await cut(istiod);
    },
    line: UNCONNECTED,
    error: /error="RESOURCE_EXHAUSTED: too many streams"/,
    mend: (istiod) => istiod.setDiscovery({ refuse: undefined }),
    reason: "ConnectionError",
  },
  {
    name: "answered by something that speaks no gRPC",
    make: async (istiod) => {
      await istiod.setDiscovery({ httpStatus: 503 });
      await cut(istiod);
    },
    line: UNCONNECTED,
    error: /error="[^"]*503/,
    mend: (istiod) => istiod.setDiscovery({ httpStatus: undefined }),
    reason: "ConnectionError",
  },
  {
    name: "offered a message of 201 MiB",
    make: (istiod) => istiod.pushLarge(ADDRESS_TYPE, 201 << 20),
    line: DISCONNECTED,
    error: /error="[^"]*a message of 2107\d+ bytes is larger than the 209715200 bytes that are taken"/,
    reason: "Error",
  },
  {
    name: "refused for its token",
    make: async (istiod) => {
      await istiod.setPort({ refuseTokens: true });
      await cut(istiod);
    },
    line: UNCONNECTED,
    error: /error="UNAUTHENTICATED: /,
    mend: (istiod) => istiod.setPort({ refuseTokens: false }),
    reason: "ConnectionError",
  },
  {
    name: "without a token, as its file is empty",
    make: async (istiod) => {
      writeFileSync(istiod.tokenPath, "");
      await cut(istiod);
    },
    line: UNCONNECTED,
    error: /error="the call has not been sent: the token file \S+istio-token is empty"/,
    mend: (istiod) => Promise.resolve(writeFileSync(istiod.tokenPath, "another-token")),
    reason: "ConnectionError",
  },
  {
    name: "with a token that is good no more, until its file has a new one",
    make: async (istiod) => {
      await istiod.setPort({ tokens: [{ token: "the-next-token" }] });
      await cut(istiod);
    },
    line: UNCONNECTED,
    error: /error="UNAUTHENTICATED: /,
    mend: (istiod) => Promise.resolve(writeFileSync(istiod.tokenPath, "the-next-token\n")),
    reason: "ConnectionError",
  },
  {
    name: "to a server with another's name",
    make: async (istiod) => {
      await istiod.setPort({ serverNames: ["elsewhere.example"] });
      await cut(istiod);
    },
    line: UNCONNECTED,
    error: /the server's certificate is not for 10\.77\.0\.200, but for [^"]*elsewhere\.example/,
    mend: (istiod) => istiod.setPort({ serverNames: [istiod.address] }),
    reason: "ConnectionError",
  },
  {
    name: "to a server whose certificate has run out",
    make: async (istiod) => {
      await istiod.setPort({ serverExpired: true });
      await cut(istiod);
    },
    line: UNCONNECTED,
    error: /the server's certificate expired at 20/,
    mend: (istiod) => istiod.setPort({ serverExpired: false }),
    reason: "ConnectionError",
  },
  {
    name: "to a server of another root, until its root is in the file",
    make: async (istiod) => {
      await istiod.setPort({ serverIssuer: await istiod.newRoot() });
      await cut(istiod);
    },
    line: UNCONNECTED,
    error: /the server's certificate leads to none of the trusted roots: its issuer is /,
    mend: (istiod) => istiod.trustServer([0, 1]),
    reason: "ConnectionError",
  },
  {
    name: "to a port where nobody listens",
    make: async (istiod) => {
      await istiod.setPort({ connections: "refuse" });
      await cut(istiod);
    },
    line: UNCONNECTED,
    error: /error="cannot connect to 10\.77\.0\.200:15012: [^"]*(refused|ECONNREFUSED)/,
    mend: (istiod) => istiod.setPort({ connections: "accept" }),
    reason: "ConnectionError",
  },
  {
    name: "to a port that resets",
    make: async (istiod) => {
      await istiod.setPort({ connections: "reset" });
      await cut(istiod);
    },
    line: UNCONNECTED,
    error: /error="[^"]*10\.77\.0\.200:15012/,
    mend: (istiod) => istiod.setPort({ connections: "accept" }),
    reason: "ConnectionError",
  },
  {
    name: "to a port that takes connections and says nothing",
    make: async (istiod) => {
      await istiod.setPort({ connections: "black hole" });
      await cut(istiod);
    },
    line: UNCONNECTED,
    error: /the handshake was not completed within \d+ ms/,
    mend: (istiod) => istiod.setPort({ connections: "accept" }),
    reason: "ConnectionError",
  },
];

labSuite("a stream", () => {
  // It has nothing to do but to wait for its pings, while the tests before its own run.
  const stalled = controlledMesh({
    pods: [
      { name: "client", node: 0, captured: true },
      { name: "server", node: 1, captured: true },
    ],
  }, async (quiet) => {
    quiet.serve("server");
    await quiet.istiod.synced();
    await quiet.istiod.setPort({ connections: "stall" });
  });
  let mesh: ControlledMesh | undefined;
  afterEach(async () => {
    await mesh?.close();
    mesh = undefined;
  });

  test.each(FAULTS.map((fault) => [fault.name, fault] as const))(
    "%s: told, unnoticed by traffic, and mended by itself",
    async (_, fault) => {
      mesh = await ControlledMesh.start({
        pods: [
          { name: "client", node: 0, captured: true },
          { name: "server", node: 1, captured: true },
          { name: "guarded", node: 1, captured: true },
        ],
        workloads: { guarded: { policies: [`${LAB_NAMESPACE}/guard`] } },
      });
      for (const pod of ["server", "guarded"]) mesh.serve(pod);
      const { istiod } = mesh;
      const ztunnel = mesh.ztunnel(1);
      const bystanders = await Bystanders.start(mesh, { from: "client", to: "server", held: 2 });
      expect(await mesh.reaches("client", "guarded")).toBe(true);
      const since = ztunnel.process.lines.length;
      await fault.make(istiod);
      const escaped = fault.line.replaceAll(".", "\\.");
      const line = await logLine(ztunnel, new RegExp(`${escaped}.*${fault.error.source}`), since);
      expect(line).toContain(` next_try=`);
      expect(total(await ztunnel.metrics(), "istio_xds_connection_terminations_total", { reason: fault.reason }))
        .toBeGreaterThan(0);
      // What istiod wants to say meanwhile comes when it can be said.
      const guard = policyText({
        name: "guard",
        namespace: LAB_NAMESPACE,
        scope: Scope.WORKLOAD_SELECTOR,
        action: Action.DENY,
        rules: [{ clauses: [{ matches: [{ destinationPorts: [PORT] }] }] }],
      });
      await istiod.put({ put: [guard] });
      await fault.mend?.(istiod);
      const open = mesh;
      await eventually("the policy to be in force", async () => !await open.reaches("client", "guarded"), FAULT_MS);
      await eventually(
        "the stream to be back",
        async () => total(await ztunnel.metrics(), "ambient_xds_connected") === 1,
      );
      await bystanders.more(3);
      const witness = await bystanders.stop();
      expect(witness.failures).toEqual([]);
      expect(witness.tunnelsLost).toEqual([]);
    },
    FAULT_MS,
  );

  test(
    "a stream on which nothing comes any more is found out by its pings; traffic goes on, and another is made",
    async () => {
      const quiet = stalled();
      const bystanders = await Bystanders.start(quiet, { from: "client", to: "server" });
      const ztunnel = quiet.ztunnel(1);
      const line = await logLine(ztunnel, "disconnected from the control plane", 0, STALL_MS);
      expect(line).toMatch(/error="lost the connection to [^"]*: keepalive timed out"/);
      await logLine(ztunnel, "cannot connect to the control plane", 0, STALL_MS);
      await quiet.istiod.setPort({ connections: "accept" });
      await eventually(
        "the stream to be back",
        async () => total(await ztunnel.metrics(), "ambient_xds_connected") === 1,
        STALL_MS,
      );
      const witness = await bystanders.stop();
      console.log(`meanwhile: ${figures(witness)}`);
      expect(witness.failures).toEqual([]);
      expect(witness.tunnelsLost).toEqual([]);
    },
    STALL_MS * 2,
  );
});
