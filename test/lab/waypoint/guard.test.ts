/** What a waypoint refuses: destinations that are not its own, itself, peers without an identity of the mesh, and what policies deny. */
import { expect, test } from "bun:test";
import { labSuite, sharedMesh, TEST_MS } from "../fixture.ts";
import { HBONE_PORT, LAB_NAMESPACE, total } from "../mesh/mod.ts";
import type { KubernetesObject } from "../mesh/mod.ts";
import { eventually } from "../topology/mod.ts";
import {
  Conversation,
  type ConversationError,
  doubling,
  fieldOf,
  HbonePeer,
  http1,
  PodServer,
} from "../traffic/mod.ts";
import {
  type Applications,
  ask,
  authorization,
  GRPC,
  HTTP_TARGET,
  logged,
  principal,
  startApplications,
  TCP,
  TCP_TARGET,
  V1_VIP,
  VIP,
  waypointMesh,
} from "./mesh.ts";

const CLIENT = `spiffe://cluster.local/ns/${LAB_NAMESPACE}/sa/client`;

labSuite("what a waypoint refuses", () => {
  let applications: Applications;
  let bystander: PodServer;
  const shared = sharedMesh(waypointMesh, async (mesh) => {
    applications = await startApplications(mesh);
    for (const pod of ["v1", "v2"]) mesh.serve(pod, TCP_TARGET, doubling);
    bystander = mesh.serve("bystander", HTTP_TARGET, doubling);
  });

  /** A peer that shares no code with the proxies, with a certificate of the mesh's root or of another. */
  const tunnel = (credentials: { key?: string; chain?: string } = shared().issuer().issue({ identity: CLIENT })) =>
    HbonePeer.connect(
      shared().lab.pod("outsider").namespace,
      { ip: shared().lab.pod("waypoint").ip, port: HBONE_PORT },
      credentials,
    );

  const refusals: readonly (readonly [what: string, authority: () => string])[] = [
    ["a pod of the mesh that is not behind it", () => `${shared().lab.pod("bystander").ip}:${HTTP_TARGET}`],
    ["an address that nobody knows", () => "10.99.0.1:80"],
    ["an address of the internet", () => "192.0.2.1:443"],
    ["a port that the service does not have", () => `${VIP}:12345`],
    ["a host name", () => "example.com:80"],
    ["its own address", () => `${shared().lab.pod("waypoint").ip}:${HBONE_PORT}`],
    ["its own admin port", () => `${shared().lab.pod("waypoint").ip}:15000`],
    ["loopback", () => "127.0.0.1:15000"],
    ["the node's address", () => `${shared().lab.node(1).ip}:80`],
    ["an authority without a port", () => VIP],
    ["no authority at all", () => ""],
  ];
  for (const [what, authority] of refusals) {
    test(`refused: ${what}`, async () => {
      const peer = await tunnel();
      const stream = await peer.connect(authority());
      expect(stream.status ?? 599).toBeGreaterThanOrEqual(400);
      // The tunnel itself goes on: a refusal is that of one stream.
      expect((await peer.connect(`${VIP}:80`)).status).toBe(200);
      peer.close();
      expect(bystander.visits.length).toBe(0);
    }, TEST_MS);
  }

  test("other methods than CONNECT are not served on the tunnel's port", async () => {
    const peer = await tunnel();
    const stream = await peer.request([
      [":method", "GET"],
      [":scheme", "http"],
      [":authority", `${VIP}:80`],
      [":path", "/"],
    ], true);
    expect(stream.status ?? 599).toBeGreaterThanOrEqual(400);
    peer.close();
  }, TEST_MS);

  /** Status of a CONNECT by a peer with these credentials, or how it came to none. */
  async function attempt(credentials: { key?: string; chain?: string }): Promise<number | string> {
    try {
      const peer = await tunnel(credentials);
      const { status } = await peer.connect(`${VIP}:80`);
      peer.close();
      return status ?? "reset";
    } catch (error) {
      return (error as ConversationError).code;
    }
  }

  const strangers = [
    ["without a certificate", () => ({})],
    [
      "with an identity of another trust domain",
      () => shared().issuer().issue({ identity: "spiffe://else/ns/a/sa/b" }),
    ],
    ["with an expired certificate", () => shared().issuer().issue({ identity: CLIENT, days: -1 })],
    ["with a certificate without an identity", () => shared().issuer().issue({})],
  ] as const;
  for (const [what, credentials] of strangers) {
    test(`refused: a peer ${what}`, async () => {
      const outcome = await attempt(credentials());
      expect(outcome).not.toBe(200);
    }, TEST_MS);
  }

  async function withPolicies(objects: readonly KubernetesObject[], body: () => Promise<void>): Promise<void> {
    await shared().apply(...objects);
    try {
      await body();
    } finally {
      await shared().remove(...objects);
    }
  }

  test("L7 authorization: GET allowed, DELETE denied, by identity", () =>
    withPolicies([
      authorization("readers", "ALLOW", [{
        from: [{ source: { principals: [principal("client")] } }],
        to: [{ operation: { methods: ["GET"] } }],
      }]),
    ], async () => {
      expect((await ask(shared(), { path: "/read" })).status).toBe(200);
      const { answer, record } = await logged(shared(), { method: "DELETE", path: "/gone" });
      expect([answer.status, answer.body.toString()]).toEqual([403, "RBAC: access denied"]);
      expect(fieldOf(answer.fields, "content-type")).toBe("text/plain");
      expect(fieldOf(answer.fields, "server")).toBe("istio-envoy");
      expect(record.details).toBe("rbac_access_denied_matched_policy[none]");
      // The same request by somebody else.
      expect((await ask(shared(), { from: "other" })).status).toBe(403);
      // A service that the policy is not for.
      expect((await ask(shared(), { vip: V1_VIP, method: "DELETE" })).status).toBe(200);
      const denied = await applications.caller.grpc({ target: `${VIP}:${GRPC}`, method: "Echo", messages: [{}] });
      expect([denied.code, denied.details]).toEqual([7, "RBAC: access denied"]);
      expect([...applications.v1.requests, ...applications.v2.requests].some((line) => line.includes("/gone"))).toBe(
        false,
      );
    }), TEST_MS);

  test("DENY beats ALLOW; paths are compared as the backend reads them", () =>
    withPolicies([
      authorization("all", "ALLOW", [{ from: [{ source: { namespaces: [LAB_NAMESPACE] } }] }]),
      authorization("no-admin", "DENY", [{ to: [{ operation: { paths: ["/admin*"] } }] }]),
    ], async () => {
      const status = async (path: string) => (await ask(shared(), { path })).status;
      expect(await status("/public")).toBe(200);
      for (const path of ["/admin", "/admin/x", "/%61dmin", "/x/../admin", "//admin", "/./admin", "/x/..\\admin"]) {
        expect(await status(path), path).toBe(403);
      }
      const { record } = await logged(shared(), { path: "/admin" });
      expect(record.details).toBe(`rbac_access_denied_matched_policy[ns[${LAB_NAMESPACE}]-policy[no-admin]-rule[0]]`);
    }), TEST_MS);

  test("a policy at the Gateway is for all its services; headers decide too", () =>
    withPolicies([
      authorization("no-robots", "DENY", [{
        when: [{ key: "request.headers[user-agent]", values: ["robot*"] }],
      }], { kind: "Gateway", group: "gateway.networking.k8s.io", name: "waypoint" }),
    ], async () => {
      const robot = [["User-Agent", "robot/1"]] as const;
      for (const vip of [VIP, V1_VIP]) {
        expect((await ask(shared(), { vip, fields: robot })).status).toBe(403);
        expect((await ask(shared(), { vip })).status).toBe(200);
      }
    }), TEST_MS);

  test("TCP: denied connections are closed, allowed ones pass", () =>
    withPolicies([
      authorization("tcp", "ALLOW", [{
        from: [{ source: { principals: [principal("client")] } }],
        to: [{ operation: { ports: [`${TCP}`] } }],
      }]),
    ], async () => {
      const talk = async (from: string) => {
        const conversation = await Conversation.open(shared().lab.pod(from).namespace, { ip: VIP, port: TCP });
        conversation.write("abc");
        const text = await conversation.read(6).catch(() => "closed");
        conversation.close();
        return text;
      };
      expect(await talk("client")).toBe("xxxxxx");
      expect(await talk("other")).toBe("closed");
    }), TEST_MS);

  test("TCP: a connection that a new policy denies is cut, another one goes on", async () => {
    const open = async (from: string) => {
      const conversation = await Conversation.open(shared().lab.pod(from).namespace, { ip: VIP, port: TCP });
      conversation.write("abc");
      expect(await conversation.read(6)).toBe("xxxxxx");
      return conversation;
    };
    const denied = await open("other");
    const allowed = await open("client");
    const to = [{ operation: { ports: [`${TCP}`] } }];
    const policy = authorization("cut", "DENY", [{ from: [{ source: { principals: [principal("other")] } }], to }]);
    await withPolicies([policy], async () => {
      expect(await denied.readToEnd()).toBe("");
      denied.close();
      allowed.write("abc");
      expect(await allowed.read(6)).toBe("xxxxxx");
    });
    allowed.close();
  }, TEST_MS);

  test("an ALLOW without rules denies everything", async () => {
    const policy = authorization("nothing", "ALLOW", []);
    await shared().apply(policy);
    await eventually("the denial", async () => (await ask(shared())).status === 403);
    await shared().remove(policy);
    await eventually("the end of the denial", async () => (await ask(shared())).status === 200);
  }, TEST_MS);

  test(
    "an AUDIT denies nothing",
    () =>
      withPolicies([authorization("audit", "AUDIT", [{ to: [{ operation: { methods: ["GET"] } }] }])], async () => {
        expect((await ask(shared())).status).toBe(200);
      }),
    TEST_MS,
  );

  test("a policy in dry run denies nothing, and its verdicts are counted", () => {
    const policy = authorization("dry", "DENY", [{ to: [{ operation: { methods: ["GET"] } }] }]);
    const metadata = { ...policy.metadata, annotations: { "istio.io/dry-run": "true" } };
    return withPolicies([{ ...policy, metadata }], async () => {
      expect((await ask(shared())).status).toBe(200);
      const labels = { action: "deny", policy: `ns[${LAB_NAMESPACE}]-policy[dry]-rule[0]`, result: "denied" };
      const samples = await shared().waypoint().metrics();
      expect(total(samples, "ambient_authorization_dry_run_total", labels)).toBe(1);
    });
  }, TEST_MS);

  /** Status of a request that goes around the waypoint, to a pod's address. */
  const around = (from: string) =>
    http1(shared().lab.pod(from).namespace, { ip: shared().lab.pod("v1").ip, port: HTTP_TARGET })
      .then(({ status }) => status, () => "refused");

  test("PeerAuthentication STRICT: plaintext to a pod is refused, what comes through the waypoint passes", async () => {
    expect(await around("outsider")).toBe(200);
    const strict: KubernetesObject = {
      apiVersion: "security.istio.io/v1",
      kind: "PeerAuthentication",
      metadata: { name: "strict", namespace: LAB_NAMESPACE },
      spec: { mtls: { mode: "STRICT" } },
    };
    await shared().apply(strict);
    await eventually("the refusal", async () => await around("outsider") === "refused");
    expect((await ask(shared())).status).toBe(200);
    await shared().remove(strict);
    await eventually("the end of the refusal", async () => await around("outsider") === 200);
  }, TEST_MS);

  test("a policy of the pods' namespace decides about the waypoint, not about the client behind it", async () => {
    const only = (account: string): KubernetesObject => ({
      apiVersion: "security.istio.io/v1",
      kind: "AuthorizationPolicy",
      metadata: { name: "pods", namespace: LAB_NAMESPACE },
      spec: {
        action: "ALLOW",
        rules: [{ from: [{ source: { principals: [principal(account)] } }] }],
      },
    });
    expect(await around("client")).toBe(200);
    await shared().apply(only("waypoint"));
    await eventually("the refusal of who goes around the waypoint", async () => await around("client") === "refused");
    expect((await ask(shared(), { vip: V1_VIP })).status).toBe(200);
    await shared().apply(only("client"));
    await eventually("the refusal of the waypoint", async () => (await ask(shared(), { vip: V1_VIP })).status === 503);
    await shared().remove(only("client"));
    await eventually("the end of it", async () => (await ask(shared(), { vip: V1_VIP })).status === 200);
  }, TEST_MS);

  test("garbage on the tunnel's port harms nobody", async () => {
    const waypoint = { ip: shared().lab.pod("waypoint").ip, port: HBONE_PORT };
    const outsider = shared().lab.pod("outsider").namespace;
    for (const text of ["GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x00\x05hello", "\0".repeat(70_000), ""]) {
      const conversation = await Conversation.open(outsider, waypoint);
      conversation.write(text).finish();
      await conversation.readToEnd();
      conversation.close();
    }
    // Past the handshake: what is no HTTP/2 ends the connection.
    const peer = await tunnel();
    peer.conversation.write("\xff".repeat(1000));
    await eventually("the end of the connection", () => peer.conversation.ended);
    peer.close();
    expect((await ask(shared())).status).toBe(200);
  }, TEST_MS);
});
