/** k8s/: what the manifests say is what the executable knows, and what Istio's own say (spec/waypoint.md §5.1, §5.3). */
import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parse } from "yaml";
import { parseCommand } from "../../src/cli/mod.ts";
import { loadConfig, loadWaypointConfig, parseLocalFiles } from "../../src/config/mod.ts";
import { readConfig } from "../../src/config/environment.ts";
import { INBOUND_HBONE_PORT, PROMETHEUS_PORT, READINESS_PORT, STATS_PORT } from "../../src/config/listen.ts";
import {
  argumentsOf,
  type Container,
  containerOf,
  documents,
  environmentOf,
  isRead,
  type KubernetesObject,
  manifestFiles,
  objectOf,
  objects,
  REPOSITORY,
  workloadOf,
} from "./manifests.ts";

const { version } = JSON.parse(readFileSync(join(REPOSITORY, "package.json"), "utf8")) as { version: string };
/** The name that `npm run image` gives. */
const IMAGE = `localhost/ambient:${version}`;
const README = readFileSync(join(REPOSITORY, "k8s", "README.md"), "utf8");

const daemonSet = workloadOf("ztunnel.yaml", "DaemonSet");
const deployment = workloadOf("waypoint.yaml", "Deployment");
const modes = [
  { mode: "ztunnel", file: "ztunnel.yaml", workload: daemonSet, container: containerOf(daemonSet) },
  { mode: "waypoint", file: "waypoint.yaml", workload: deployment, container: containerOf(deployment) },
] as const;

test("every file is YAML of named objects, and the README tells of it", () => {
  for (const file of manifestFiles()) {
    expect(README).toContain(file);
    if (file.startsWith("values-")) continue;
    for (const object of objects(file)) {
      expect(object).toMatchObject({
        apiVersion: expect.stringMatching(/./),
        kind: expect.stringMatching(/./),
        metadata: { name: expect.stringMatching(/./) },
      });
    }
  }
});

test("one image, named as npm run image names it", () => {
  const images = manifestFiles().flatMap((file) => documents(file).flatMap((document) => imagesOf(document)));
  expect(images.length).toBeGreaterThanOrEqual(5);
  expect([...new Set(images)]).toEqual([IMAGE]);
});

/** Texts under `image` and `proxyImage`, also in documents within documents. */
function imagesOf(value: unknown, key = ""): string[] {
  if (typeof value === "string") {
    if (key === "image" || key.endsWith("/proxyImage")) return [value];
    return key === "deployment" ? imagesOf(parse(value)) : [];
  }
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => imagesOf(inner, Array.isArray(value) ? key : name));
}

/** Arguments without a warning. */
function flagsOf(container: Container) {
  const command = parseCommand(argumentsOf(container));
  if (command.kind !== "run") throw new Error(JSON.stringify(command));
  expect(command.flags.warnings).toBeUndefined();
  return command.flags;
}

describe.each(modes)("$file", ({ mode, file, workload, container }) => {
  const { spec, metadata } = workload.template;

  test("every variable is one that the mode reads", async () => {
    for (const { name } of container.env) expect([name, await isRead(mode, name)]).toEqual([name, true]);
  });

  test("arguments and variables together are good settings", async () => {
    const flags = flagsOf(container);
    expect(flags.mode).toBe(mode);
    const env = { ...environmentOf(container), KUBERNETES_SERVICE_HOST: "10.96.0.1" };
    const loaded = await (mode === "ztunnel" ? loadConfig(env, flags) : loadWaypointConfig(env, flags));
    if (!loaded.ok) throw new Error(loaded.errors.join("\n"));
    expect(loaded.config.warnings).toEqual([]);
    expect(loaded.config.authority).toEqual({ kind: "remote", address: "https://istiod.istio-system.svc:15012" });
  });

  test("probes and ports are where the executable listens", () => {
    const probe = { path: "/healthz/ready", port: READINESS_PORT };
    expect(container.readinessProbe.httpGet).toMatchObject(probe);
    // A liveness probe would end a process that is only waiting for istiod, and every connection with it.
    expect(container.livenessProbe).toBeUndefined();
    const own = [STATS_PORT, READINESS_PORT, PROMETHEUS_PORT, INBOUND_HBONE_PORT];
    for (const { containerPort } of container.ports) expect(own).toContain(containerPort);
    expect(metadata.annotations["prometheus.io/port"]).toBe(String(STATS_PORT));
  });

  test("token, root and socket are mounted where the executable looks for them", () => {
    const asked: string[] = [];
    const exists = (path: string) => asked.push(path) > 0;
    const surroundings = { cores: 1, root: true, home: "/root", ipv6Loopback: false, exists };
    const read = readConfig({ XDS_ADDRESS: "istiod:15012", CA_ADDRESS: "istiod:15012" }, {}, { surroundings });
    if (!read.ok) throw new Error(read.errors.join("\n"));
    const { authToken, xdsRootCertificate, caRootCertificate, inpodSocket } = read.config;
    if (authToken.kind !== "file" || xdsRootCertificate.kind !== "file") throw new Error("no files");
    expect(caRootCertificate).toEqual(xdsRootCertificate);
    const volumeAt = (path: string) => {
      const mount = container.volumeMounts.find(({ mountPath }) => resolve("/", path).startsWith(`${mountPath}/`));
      const volume = spec.volumes.find(({ name }) => name === mount?.name);
      const rest = mount === undefined ? undefined : resolve("/", path).slice(mount.mountPath.length + 1);
      return { volume, rest };
    };
    const token = volumeAt(authToken.path);
    expect(token.volume?.projected?.sources).toEqual([
      { serviceAccountToken: { path: token.rest, audience: "istio-ca", expirationSeconds: 43200 } },
    ]);
    // The key that istiod writes into it in every namespace.
    const root = volumeAt(xdsRootCertificate.path);
    expect([root.volume?.configMap?.name, root.rest]).toEqual(["istio-ca-root-cert", "root-cert.pem"]);
    if (mode === "ztunnel") {
      const socket = volumeAt(inpodSocket);
      expect([socket.volume?.hostPath?.path, socket.rest]).toEqual(["/var/run/ztunnel", "ztunnel.sock"]);
    }
  });

  test("what is mounted is there, and what is there is mounted", () => {
    const volumes = spec.volumes.map(({ name }) => name).sort();
    expect(container.volumeMounts.map(({ name }) => name).sort()).toEqual(volumes);
    for (const { configMap } of spec.volumes) {
      if (configMap === undefined || configMap.name === "istio-ca-root-cert") continue;
      expect(objectOf(file, "ConfigMap").metadata.name).toBe(configMap.name);
    }
  });

  test("names agree: selector, account, namespace", () => {
    expect(metadata.labels).toMatchObject(workload.selector.matchLabels);
    expect(objectOf(file, "ServiceAccount").metadata.name).toBe(spec.serviceAccountName);
    const namespaces = objects(file).map((object) => object.metadata.namespace);
    expect(new Set(namespaces).size).toBe(1);
    expect(metadata.labels).toMatchObject({
      "sidecar.istio.io/inject": "false",
      "istio.io/dataplane-mode": "none",
    });
  });
});

test("the DaemonSet is as privileged as Istio's, and no more", () => {
  expect(containerOf(daemonSet).securityContext).toEqual({
    allowPrivilegeEscalation: true,
    privileged: false,
    capabilities: { drop: ["ALL"], add: ["NET_ADMIN", "SYS_ADMIN", "NET_RAW"] },
    readOnlyRootFilesystem: true,
    runAsUser: 0,
    runAsGroup: 1337,
    runAsNonRoot: false,
  });
  const { spec } = daemonSet.template;
  for (const shared of ["hostNetwork", "hostPID", "hostIPC", "securityContext"]) expect(spec[shared]).toBeUndefined();
});

test("the DaemonSet is where pods are, and changes without a gap", async () => {
  const { spec, metadata } = daemonSet.template;
  expect(daemonSet.updateStrategy).toEqual({
    type: "RollingUpdate",
    rollingUpdate: { maxSurge: 1, maxUnavailable: 0 },
  });
  expect(spec["nodeSelector"]).toEqual({ "kubernetes.io/os": "linux" });
  expect(spec["priorityClassName"]).toBe("system-node-critical");
  expect(spec["tolerations"]).toEqual([
    { operator: "Exists", effect: "NoSchedule" },
    { operator: "Exists", effect: "NoExecute" },
    { operator: "Exists", key: "CriticalAddonsOnly" },
  ]);
  expect(metadata.labels["app"]).toBe("ztunnel");
  expect(containerOf(daemonSet).resources).toEqual({ requests: { cpu: "200m", memory: "512Mi" } });

  expect(spec.terminationGracePeriodSeconds).toBe(30);
  const env = environmentOf(containerOf(daemonSet));
  expect(env["TERMINATION_GRACE_PERIOD_SECONDS"]).toBe(String(spec.terminationGracePeriodSeconds));
  const loaded = await loadConfig(env);
  expect(loaded).toMatchObject({ ok: true, config: { terminationDeadline: 25_000, proxyMode: "shared" } });
});

test("the waypoint has no privileges, and the time that Istio's has to start", () => {
  const { securityContext, startupProbe, readinessProbe, ports } = containerOf(deployment);
  expect(securityContext).toEqual({
    allowPrivilegeEscalation: false,
    privileged: false,
    capabilities: { drop: ["ALL"] },
    readOnlyRootFilesystem: true,
    runAsUser: 1337,
    runAsGroup: 1337,
    runAsNonRoot: true,
  });
  const httpGet = { path: "/healthz/ready", port: READINESS_PORT, scheme: "HTTP" };
  expect(startupProbe as unknown).toEqual({
    httpGet,
    initialDelaySeconds: 1,
    periodSeconds: 1,
    timeoutSeconds: 1,
    failureThreshold: 30,
  });
  expect(readinessProbe as unknown).toEqual({ httpGet, periodSeconds: 15, timeoutSeconds: 1, failureThreshold: 4 });
  expect(ports.map(({ containerPort }) => containerPort)).toEqual([STATS_PORT, READINESS_PORT, PROMETHEUS_PORT]);
  expect(deployment.template.metadata.labels).toMatchObject({
    "gateway.istio.io/managed": "istio.io-mesh-controller",
    "gateway.networking.k8s.io/gateway-class-name": "istio-waypoint",
    "gateway.networking.k8s.io/gateway-name": objectOf("waypoint.yaml", "Gateway").metadata.name,
  });
});

test("the waypoint's Service leads to its pods", () => {
  const service = objectOf("waypoint.yaml", "Service").spec as {
    readonly selector: Record<string, string>;
    readonly ports: readonly { readonly name: string; readonly port: number }[];
  };
  expect(deployment.template.metadata.labels).toMatchObject(service.selector);
  expect(service.ports.map(({ name, port }) => [name, port])).toEqual([
    ["status-port", READINESS_PORT],
    ["mesh", INBOUND_HBONE_PORT],
  ]);
});

test("the ways to put the image under an Istio that is there", () => {
  expect(documents("values-ztunnel.yaml")).toEqual([{ image: IMAGE, imagePullPolicy: "IfNotPresent" }]);
  // Istio takes an image whole only if there is a slash in its name.
  expect(IMAGE).toContain("/");
  const gateway = objectOf("gateway-one.yaml", "Gateway");
  expect(gateway.metadata.annotations).toEqual({ "sidecar.istio.io/proxyImage": IMAGE });
  expect(gateway.spec).toMatchObject({ gatewayClassName: "istio-waypoint" });
  const defaults: KubernetesObject = objectOf("gateway-all.yaml", "ConfigMap");
  expect(defaults.metadata).toMatchObject({
    namespace: "istio-system",
    labels: { "gateway.istio.io/defaults-for-class": "istio-waypoint" },
  });
  expect(parse(defaults.data?.["deployment"] ?? "")).toEqual({
    spec: { template: { spec: { containers: [{ name: "istio-proxy", image: IMAGE }] } } },
  });
});

test("the waypoint's mesh is one that it can read", async () => {
  const { data = {} } = objectOf("waypoint.yaml", "ConfigMap");
  const parsed = await parseLocalFiles(Object.entries(data).map(([path, text]) => ({ path, text })), {
    waypoint: {
      gateway: undefined,
      clusterDomain: "cluster.local",
      trustDomains: ["cluster.local"],
      network: "",
      address: "10.0.0.9",
      rootNamespace: "istio-system",
      accessLog: undefined,
    },
  });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.errors));
  expect(parsed.warnings).toEqual([]);
  const [chain] = Object.values(parsed.waypoint?.chains ?? {});
  expect(chain?.name).toBe("inbound-vip|80|http|cart.shop.svc.cluster.local");
});

test("the Dockerfile starts what the manifests start, from files that are there", () => {
  const lines = readFileSync(join(REPOSITORY, "Dockerfile"), "utf8").split("\n");
  expect(lines).toContain('ENTRYPOINT ["/ambient"]');
  expect(lines).toContain("WORKDIR /");
  const copied = lines.filter((line) => line.startsWith("COPY ") && !line.includes("--from"))
    .flatMap((line) => line.split(" ").slice(1, -1));
  expect(copied.filter((path) => !existsSync(join(REPOSITORY, path)))).toEqual([]);
  // Images by name only: which registry they come from is for the builder to say.
  const bases = lines.filter((line) => line.startsWith("FROM ")).map((line) => line.split(" ")[1]);
  expect(bases).toEqual(["${BUILDER}", "${BASE}"]);
  for (const [, image = ""] of lines.join("\n").matchAll(/^ARG (?:BUILDER|BASE)=(\S+)$/gm)) {
    expect(image.split("/").slice(0, -1).join("/")).not.toMatch(/[.:]/);
  }
});
