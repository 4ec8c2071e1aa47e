/** TLS that passes a waypoint: the server name that its client asks for, in policies and in the access log. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { clientHello } from "../../tls/hello_bytes.ts";
import { labSuite, type Mesh, sharedMesh, TEST_MS } from "../fixture.ts";
import { hostnameOf, type KubernetesObject, type RequestRecord, waypointGateway } from "../mesh/mod.ts";
import { eventually, must } from "../topology/mod.ts";
import { Conversation, doubling, http1 } from "../traffic/mod.ts";
import { ACCESS_LOG, authorization, HTTP_TARGET, waypointMesh } from "./mesh.ts";

const VIP = "10.96.8.7";
/** Declared HTTPS, in front of openssl. */
const HTTPS = 443;
/** Declared TLS, in front of an application that doubles bytes. */
const TLS = 444;
/** Declared TCP and undeclared, in front of the same. */
const TCP = 445;
const SNIFFED = 446;
const HTTP = 80;
/** Long enough for a client that is slow, short enough to wait for one that stalls. */
const DETECTION_MS = 1500;
const HTTPS_TARGET = 9443;
const BYTES_TARGET = 9444;
const PORTS = {
  [HTTP]: HTTP_TARGET,
  [HTTPS]: HTTPS_TARGET,
  [TLS]: BYTES_TARGET,
  [TCP]: BYTES_TARGET,
  [SNIFFED]: BYTES_TARGET,
};
const HELLO = clientHello("good.example");
const DENIED = /^rbac_access_denied_matched_policy\[/;

/** A policy at the service about the server name, for its ports of TLS unless told otherwise. */
function sni(
  action: "ALLOW" | "DENY",
  condition: { values?: readonly string[]; notValues?: readonly string[] },
  ports: readonly number[] = [HTTPS, TLS],
): KubernetesObject {
  const to = ports.length === 0 ? {} : { to: [{ operation: { ports: ports.map(String) } }] };
  const rule = { ...to, when: [{ key: "connection.sni", ...condition }] };
  return authorization("by-name", action, [rule], { kind: "Service", group: "", name: "secure" });
}

labSuite("server names of TLS", () => {
  const shared: () => Mesh = sharedMesh({
    ...waypointMesh,
    pods: waypointMesh.pods.filter(({ name }) => ["client", "v1", "waypoint"].includes(name)),
    meshed: ["client", "v1"],
    waypoints: [{ pod: "waypoint", environment: { AMBIENT_DETECTION_TIMEOUT: `${DETECTION_MS}ms` } }],
    configuration: (lab) => ({
      workloads: [
        { pod: lab.pod("client"), hbone: true },
        { pod: lab.pod("v1"), hbone: true, services: { secure: PORTS } },
        { pod: lab.pod("waypoint"), hbone: true },
      ],
      services: [{
        name: "secure",
        vip: VIP,
        ports: PORTS,
        appProtocols: { [HTTP]: "HTTP", [HTTPS]: "HTTPS", [TLS]: "TLS", [TCP]: "TCP" },
        waypoint: lab.pod("waypoint"),
      }],
      objects: [waypointGateway(), ACCESS_LOG],
    }),
  }, async (mesh) => {
    mesh.serve("v1", BYTES_TARGET, doubling);
    mesh.serve("v1", HTTP_TARGET, async (conversation) => {
      while (!conversation.ended) {
        await conversation.readUntil("\r\n\r\n");
        conversation.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
      }
    });
    const file = (name: string) => join(mesh.lab.directory, name);
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", file("tls.key")];
    must(["openssl", "req", "-x509", ...key, "-subj", "/CN=good.example", "-out", file("tls.crt")]);
    const credentials = ["-cert", file("tls.crt"), "-key", file("tls.key")];
    const server = mesh.lab.pod("v1").namespace.spawn([
      "openssl",
      "s_server",
      "-accept",
      `${HTTPS_TARGET}`,
      "-www",
      ...credentials,
    ]);
    mesh.onClose(async () => {
      await server.stop("SIGKILL");
    });
    await server.line((line) => line === "ACCEPT");
  });
  const client = () => shared().lab.pod("client").namespace;
  /** Connections so far. */
  let made = 0;
  const open = (port: number) => {
    made++;
    return Conversation.open(client(), { ip: VIP, port });
  };
  const lineCount = () => shared().waypoint().process.lines.length;
  /** Waits until each connection so far has its line: then the next line is the next connection's. */
  const told = () =>
    eventually("a line of every connection", () => {
      const records = shared().waypoint().records();
      return records.length >= made && records;
    });
  const lastRecord = async () => {
    const records = await told();
    expect(records).toHaveLength(made);
    return records.at(-1) as RequestRecord;
  };

  /** curl over TLS. @returns what it says of its outcome, and the log's line */
  async function curl(name: string) {
    await told();
    made++;
    const command = ["curl", "-sk", "--max-time", "30", "-o", "/dev/null", "-w", "%{http_code}"];
    const { stdout } = client().attempt([...command, "--resolve", `${name}:${HTTPS}:${VIP}`, `https://${name}/`]);
    return { code: stdout, record: await lastRecord() };
  }

  async function under(policy: KubernetesObject | undefined, body: () => Promise<void>): Promise<void> {
    if (policy !== undefined) await shared().apply(policy);
    try {
      await body();
    } finally {
      if (policy !== undefined) await shared().remove(policy);
    }
  }

  test("passes, and the access log has the name", async () => {
    const { code, record } = await curl("Good.Example");
    expect([code, record.serverName, record.termination]).toEqual(["200", "good.example", "-"]);
  }, TEST_MS);

  test(
    "DENY by name closes, other names pass",
    () =>
      under(sni("DENY", { values: ["bad.example", "*.worse.example"] }), async () => {
        for (const name of ["bad.example", "BAD.Example", "very.worse.example"]) {
          const { code, record } = await curl(name);
          expect([code, record.serverName]).toEqual(["000", name.toLowerCase()]);
          expect(record.termination).toMatch(DENIED);
        }
        for (const name of ["good.example", "worse.example"]) expect((await curl(name)).code).toBe("200");
      }),
    TEST_MS,
  );

  test("DENY of all but some names, and ALLOW of some", async () => {
    const names = ["good.example"];
    for (const policy of [sni("DENY", { notValues: names }), sni("ALLOW", { values: names })]) {
      await under(policy, async () => {
        expect((await curl("good.example")).code).toBe("200");
        expect((await curl("bad.example")).code).toBe("000");
      });
    }
  }, TEST_MS);

  const plain: readonly (readonly [what: string, policy: KubernetesObject | undefined, passes: boolean])[] = [
    ["no policy", undefined, true],
    ["DENY of a name", sni("DENY", { values: ["bad.example"] }), true],
    ["DENY of all but a name", sni("DENY", { notValues: ["good.example"] }), false],
    ["ALLOW of a name", sni("ALLOW", { values: ["good.example"] }), false],
  ];
  test.each(plain)("bytes that are no TLS have no name: %s", (_, policy, passes) =>
    under(policy, async () => {
      await told();
      const conversation = await open(TLS);
      conversation.write("hello").finish();
      expect(await conversation.readToEnd()).toBe(passes ? "x".repeat(10) : "");
      conversation.close();
      const record = await lastRecord();
      expect([record.serverName, DENIED.test(record.termination)]).toEqual(["-", !passes]);
    }), TEST_MS);

  test(
    "a slow client's name counts, octet by octet",
    () =>
      under(sni("ALLOW", { values: ["good.example"] }), async () => {
        const conversation = await open(TLS);
        // So that each is a segment of its own; all of it within the time.
        for (const octet of HELLO) {
          conversation.write(Uint8Array.of(octet));
          await Bun.sleep(1);
        }
        await conversation.untilReceived(2 * HELLO.length);
        conversation.close();
      }),
    TEST_MS,
  );

  test(
    `a client that stalls for more than ${DETECTION_MS} ms has none: it passes only where no policy asks`,
    async () => {
      const half = HELLO.slice(0, 60);
      await told();
      const free = await open(TLS);
      free.write(half);
      await free.untilReceived(2 * half.length);
      free.close();
      expect((await lastRecord()).serverName).toBe("-");
      await under(sni("DENY", { values: ["other.example"] }), async () => {
        for (const first of [half, new Uint8Array(0)]) {
          const refused = await open(TLS);
          refused.write(first);
          expect(await refused.readToEnd()).toBe("");
          refused.close();
        }
      });
    },
    TEST_MS,
  );

  test(
    "a hello in which no name can be read passes no policy that asks for one",
    () =>
      under(sni("DENY", { values: ["bad.example"] }), async () => {
        await told();
        const conversation = await open(TLS);
        conversation.write(clientHello("bad.example."));
        expect(await conversation.readToEnd()).toBe("");
        conversation.close();
        const record = await lastRecord();
        expect(record.upstreamFailure).toBe("a_policy_asks_for_the_server_name:_the_ClientHello_is_malformed");
      }),
    TEST_MS,
  );

  test("a policy that comes ends connections of that name", async () => {
    const [good, bad] = [await open(TLS), await open(TLS)];
    good.write(HELLO);
    await good.untilReceived(2 * HELLO.length);
    const hello = clientHello("bad.example");
    bad.write(hello);
    await bad.untilReceived(2 * hello.length);
    await under(sni("DENY", { values: ["bad.example"] }), async () => {
      await eventually("the end of what is denied", () => bad.ended);
      good.write("more");
      await good.untilReceived(2 * (HELLO.length + 4));
    });
    good.close();
    bad.close();
  }, TEST_MS);

  test("ports not declared TLS: the rule applies whatever the name, and a warning says where", async () => {
    const since = lineCount();
    const ask = async () => (await http1(client(), { ip: VIP, port: HTTP }, { host: hostnameOf("secure") })).status;
    const echoes = async (port: number) => {
      const conversation = await open(port);
      conversation.write(HELLO).finish();
      const length = (await conversation.readToEnd()).length;
      conversation.close();
      return length;
    };
    const all = async () => [await ask(), await echoes(TCP), await echoes(SNIFFED), await echoes(TLS)];
    const whole = 2 * HELLO.length;
    expect(await all()).toEqual([200, whole, whole, whole]);
    await under(sni("DENY", { values: ["bad.example"] }, []), async () => {
      expect(await all()).toEqual([403, 0, 0, whole]);
      for (const port of [HTTP, TCP, SNIFFED]) {
        const wanted = `at port ${port} of service`;
        await eventually(
          wanted,
          () =>
            shared().waypoint().process.lines.slice(since).find((line) =>
              line.includes(wanted) && line.includes("connection.sni")
            ),
        );
      }
    });
    const quiet = lineCount();
    // For its ports of TLS alone it leaves the others as they are.
    await under(sni("DENY", { values: ["bad.example"] }), async () => {
      expect(await all()).toEqual([200, whole, whole, whole]);
      expect(shared().waypoint().process.lines.slice(quiet).filter((line) => line.includes("connection.sni"))).toEqual(
        [],
      );
    });
  }, TEST_MS);
});
