/**
 * The image that `npm run image` makes: a good OCI archive, whose root runs both modes as the manifests of k8s/ start
 * them, read-only and without /tmp.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { buildImage, type Image } from "../../compile/image_archive.ts";
import { requirePrograms } from "../../compile/image_tools.ts";
import {
  argumentsOf,
  type Container,
  containerOf,
  environmentOf,
  objectOf,
  REPOSITORY,
  workloadOf,
} from "../k8s/manifests.ts";
import { CniStandIn } from "../lab/cni/mod.ts";
import { ambientBinary } from "../lab/mesh/binary.ts";
import {
  type Descriptor,
  type ImageConfig,
  inContainer,
  Layout,
  type Manifest,
  must,
  sha256,
  whyNoContainers,
} from "./image_fixture.ts";

const MODULE_START_MS = 180_000;
/** A process that starts, serves and ends, on a busy machine. */
const RUN_MS = 90_000;
const NAME = "localhost/ambient:1.2.3";
const VERSION = "1.2.3";
/** 2023-11-14T22:13:20Z */
const EPOCH = 1_700_000_000;

function whyNoTools(): string | undefined {
  try {
    requirePrograms(["apt-get", "dpkg-deb", "tar", "umoci"]);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

const noTools = whyNoTools();
const noContainers = noTools ?? whyNoContainers();

describe.skipIf(noTools !== undefined)(`the image${noTools === undefined ? "" : `: ${noTools}`}`, () => {
  let scratch: string;
  let image: Image;
  let layout: Layout;
  let root: string;
  let manifest: Manifest;
  let config: ImageConfig;

  const build = (outfile: string) =>
    buildImage({
      executable: ambientBinary(),
      outfile,
      name: NAME,
      version: VERSION,
      gitRevision: "0123456789abcdef",
      epoch: EPOCH,
    });

  beforeAll(() => {
    scratch = mkdtempSync(join(tmpdir(), "image-"));
    image = build(join(scratch, "image.tar"));
    layout = new Layout(join(scratch, "image.tar"), join(scratch, "layout"));
    const [entry] = layout.json<{ manifests: Descriptor[] }>("index.json").manifests;
    manifest = layout.document<Manifest>(entry!);
    config = layout.document<ImageConfig>(manifest.config);
    root = layout.unpack(VERSION, join(scratch, "bundle"));
  }, MODULE_START_MS);

  afterAll(() => {
    spawnSync("rm", ["-rf", scratch]);
  });

  test("it is an OCI archive of one image, and every digest is that of its content", () => {
    expect(layout.json("oci-layout")).toEqual({ imageLayoutVersion: "1.0.0" });
    const index = layout.json<{ schemaVersion: number; manifests: Descriptor[] }>("index.json");
    expect(index.schemaVersion).toBe(2);
    expect(index.manifests).toMatchObject([{
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      digest: image.digest,
      annotations: { "org.opencontainers.image.ref.name": VERSION, "io.containerd.image.name": NAME },
    }]);
    expect(manifest.schemaVersion).toBe(2);
    expect(manifest.config.mediaType).toBe("application/vnd.oci.image.config.v1+json");
    expect(manifest.layers).toHaveLength(2);
    for (const { mediaType } of manifest.layers) expect(mediaType).toBe("application/vnd.oci.image.layer.v1.tar+gzip");
    expect(config.rootfs).toEqual({
      type: "layers",
      diff_ids: manifest.layers.map((layer) => sha256(layout.layer(layer))),
    });
    const used = [image.digest, manifest.config.digest, ...manifest.layers.map(({ digest }) => digest)];
    expect(layout.blobs()).toEqual(used.sort());
  });

  test("it starts what the Dockerfile starts, and says what it is", () => {
    expect(config).toMatchObject({ os: "linux", created: "2023-11-14T22:13:20Z" });
    expect(config.architecture).toBe(process.arch === "x64" ? "amd64" : process.arch);
    // Who it runs as is for the manifests to say; there is no shell and no command but the entry point.
    expect(config.config).toEqual({
      Entrypoint: ["/ambient"],
      WorkingDir: "/",
      Labels: {
        "org.opencontainers.image.title": "ambient",
        "org.opencontainers.image.version": VERSION,
        "org.opencontainers.image.revision": "0123456789abcdef",
        "org.opencontainers.image.licenses": "Apache-2.0",
      },
    });
  });

  test("docker load and kind find in it what they look for", () => {
    const path = ({ digest }: Descriptor) => `blobs/${digest.replace(":", "/")}`;
    expect(layout.json("manifest.json")).toEqual([
      { Config: path(manifest.config), RepoTags: [NAME], Layers: manifest.layers.map(path) },
    ]);
  });

  test("its files are root's, of one time, and none of them is another's way to be root", () => {
    for (const layer of manifest.layers) {
      const tar = join(scratch, "layer.tar");
      writeFileSync(tar, layout.layer(layer));
      const lines = must(["tar", "-t", "-v", "--numeric-owner", "--utc", "--full-time", "-f", tar]).trim().split("\n");
      const strange = lines.filter((line) => !/^[-dlh]\S+ 0\/0 +\d+ 2023-11-14 22:13:20 /.test(line));
      expect(strange).toEqual([]);
      expect(lines.filter((line) => /^-\S*s/.test(line))).toEqual([]);
    }
  });

  test("the root has names, roots of trust, licences, no shell", () => {
    const text = (path: string) => readFileSync(join(root, path), "utf8");
    expect(text("etc/passwd")).toContain("istio-proxy:x:1337:1337:");
    expect(text("etc/nsswitch.conf")).toContain("hosts: files dns");
    expect(text("etc/ssl/certs/ca-certificates.crt").match(/^-----BEGIN CERTIFICATE-----$/gm)?.length)
      .toBeGreaterThan(50);
    for (const name of ["base-files", "ca-certificates", "libc6", "netbase"]) {
      expect(text(`usr/share/doc/${name}/copyright`)).not.toBe("");
      expect(image.packages.join(" ")).toMatch(new RegExp(`\\b${name}=[0-9]`));
    }
    expect(existsSync(join(root, "bin", "sh"))).toBe(false);
  });

  test("the same again is the same to the byte", () => {
    const again = build(join(scratch, "again.tar"));
    expect(again.digest).toBe(image.digest);
    expect(must(["cmp", join(scratch, "image.tar"), join(scratch, "again.tar")])).toBe("");
  }, MODULE_START_MS);

  describe.skipIf(noContainers !== undefined)(noContainers ?? "runs with a read-only root and no /tmp", () => {
    /** The mesh of the manifest's ConfigMap, as the mount has it. */
    function meshFolder(): string {
      const folder = mkdtempSync(join(scratch, "mesh-"));
      chmodSync(folder, 0o755);
      const { data = {} } = objectOf("waypoint.yaml", "ConfigMap");
      for (const [name, text] of Object.entries(data)) writeFileSync(join(folder, name), text);
      return folder;
    }

    /** From start to a graceful end, with questions by the executable itself: there is nothing else in the root. */
    function life(args: readonly string[]): string {
      const words = args.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
      return [
        'if touch "$root/written" 2>/dev/null; then echo "the root can be written"; exit 9; fi',
        'if test -e "$root/tmp"; then echo "there is a /tmp"; exit 9; fi',
        `contained ${words} &`,
        "pid=$!",
        // Whoever has ended will never be ready.
        'status="$root/proc/$pid/status"',
        'until ambient wait --timeoutSeconds 2; do if grep -q "^State:.*Z" "$status"; then break; fi; done',
        'grep -E "^(Uid|Gid|Groups|CapEff|NoNewPrivs):" "$status"',
        "ambient request GET /version",
        'kill -TERM "$pid"',
        'wait "$pid"',
        'echo "ended: $?"',
      ].join("\n");
    }

    const privileges = (container: Container) => {
      const { runAsUser, runAsGroup, allowPrivilegeEscalation, capabilities } = container.securityContext;
      return {
        user: runAsUser as number,
        group: runAsGroup as number,
        capabilities: ((capabilities as { add?: string[] }).add ?? []).map((name) => name.toLowerCase()),
        noNewPrivileges: allowPrivilegeEscalation === false,
      };
    };

    test("version, and the licences of what is inside", async () => {
      const options = {
        root,
        mounts: [],
        env: {},
        ...privileges(containerOf(workloadOf("waypoint.yaml", "Deployment"))),
      };
      const version = await inContainer({ ...options, script: "contained version" });
      expect(version).toEqual({ status: 0, output: expect.stringContaining('BuildProfile:"release"') as string });
      const licenses = await inContainer({ ...options, script: "contained version --licenses" });
      expect(licenses.output).toStartWith("ambient\n\nApache License\n");
    }, RUN_MS);

    test(
      "the DaemonSet's container, with its user and capabilities, until a CNI agent's snapshot makes it ready",
      async () => {
        const container = containerOf(workloadOf("ztunnel.yaml", "DaemonSet"));
        const agent = join(scratch, "agent");
        mkdirSync(agent);
        const cni = await CniStandIn.listen(join(agent, "ztunnel.sock"));
        try {
          const { status, output } = await inContainer({
            root,
            mounts: [
              { at: "/var/run/ztunnel", from: agent },
              { at: "/etc/ambient", from: meshFolder(), readOnly: true },
              { at: "/var/lib/ambient/ca" },
            ],
            // No istiod here: state from files, certificates of its own.
            env: {
              ...environmentOf(container),
              ...{ XDS_ADDRESS: "", LOCAL_XDS_PATH: "/etc/ambient", CA_ADDRESS: "embedded" },
            },
            ...privileges(container),
            script: life(argumentsOf(container)),
          });
          expect(cni.errors).toEqual([]);
          expect(output).toContain("ready\n");
          expect(output).toContain('"buildProfile": "release"');
          expect(output).toMatch(/^Uid:\t0\t0\t0\t0$/m);
          expect(output).toMatch(/^Gid:\t1337\t1337\t1337\t1337$/m);
          // Bits 12, 13 and 21: the manifest's; bit 18, sys_chroot, brought it into its root.
          expect(output).toMatch(/^CapEff:\t0+243000$/m);
          expect(output).toEndWith("ended: 0\n");
          expect(status).toBe(0);
        } finally {
          cni.close();
        }
      },
      RUN_MS,
    );

    test("the Deployment's container, as nobody in particular and without capabilities", async () => {
      const container = containerOf(workloadOf("waypoint.yaml", "Deployment"));
      const { status, output } = await inContainer({
        root,
        mounts: [
          { at: "/etc/ambient", from: meshFolder(), readOnly: true },
          { at: "/var/lib/istio/data", owner: 1337 },
        ],
        env: { ...environmentOf(container), CA_ADDRESS: "embedded" },
        ...privileges(container),
        script: life([...argumentsOf(container), "--ca-dir", "/var/lib/istio/data/ca"]),
      });
      expect(output).toContain("ready\n");
      expect(output).toMatch(/^Uid:\t1337\t1337\t1337\t1337$/m);
      expect(output).toMatch(/^CapEff:\t0+$/m);
      expect(output).toMatch(/^NoNewPrivs:\t1$/m);
      expect(output).toEndWith("ended: 0\n");
      expect(status).toBe(0);
    }, RUN_MS);
  });
});

describe("what the Dockerfile copies", () => {
  test("is all that the build needs", () => {
    const folder = mkdtempSync(join(tmpdir(), "dockerfile-"));
    try {
      const dockerfile = readFileSync(join(REPOSITORY, "Dockerfile"), "utf8");
      for (const [, words = ""] of dockerfile.matchAll(/^COPY (?!--)(.*)$/gm)) {
        const paths = words.split(" ");
        const target = paths.pop()!;
        for (const path of paths) {
          const to = join(folder, target === "./" ? path : target);
          mkdirSync(dirname(to), { recursive: true });
          must(["cp", "-r", "--no-target-directory", join(REPOSITORY, path), to]);
        }
      }
      must(["ln", "-s", join(REPOSITORY, "node_modules"), join(folder, "node_modules")]);
      must(["env", "AMBIENT_REVISION=fedcba", process.execPath, join(folder, "compile", "compile.ts")]);
      expect(must([join(folder, "dist", "ambient"), "version"])).toContain('GitRevision:"fedcba"');
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }, MODULE_START_MS);
});
