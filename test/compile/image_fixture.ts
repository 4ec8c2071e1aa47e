/** An image as who gets it sees it: the archive taken apart, its root unpacked, its processes run in that root. */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { gunzipSync } from "node:zlib";

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface Manifest {
  readonly schemaVersion: number;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly annotations: Readonly<Record<string, string>>;
}

export interface ImageConfig {
  readonly created: string;
  readonly architecture: string;
  readonly os: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly rootfs: { readonly type: string; readonly diff_ids: readonly string[] };
}

/** Runs to the end. @throws Error with what the program said */
export function must(command: readonly [string, ...string[]]): string {
  const [program, ...args] = command;
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: "utf8", maxBuffer: 64 << 20 });
  if (error !== undefined || status !== 0) throw new Error(`${command.join(" ")}: ${error?.message ?? stderr}`);
  return stdout;
}

export function sha256(data: Uint8Array): string {
  return `sha256:${createHash("sha256").update(data).digest("hex")}`;
}

/** An archive that was unpacked into `folder`. */
export class Layout {
  readonly folder: string;

  constructor(archive: string, folder: string) {
    mkdirSync(folder);
    must(["tar", "-x", "-f", archive, "-C", folder]);
    this.folder = folder;
  }

  json<T>(path: string): T {
    return JSON.parse(readFileSync(join(this.folder, path), "utf8")) as T;
  }

  /** What a descriptor is about. @throws Error where size or digest are others */
  blob({ digest, size }: Descriptor): Uint8Array {
    const data = readFileSync(join(this.folder, "blobs", ...digest.split(":")));
    if (data.length !== size || sha256(data) !== digest) {
      throw new Error(`${digest} is ${sha256(data)}, ${data.length}`);
    }
    return data;
  }

  document<T>(descriptor: Descriptor): T {
    return JSON.parse(new TextDecoder().decode(this.blob(descriptor))) as T;
  }

  /** A layer's own tar. */
  layer(descriptor: Descriptor): Uint8Array {
    return gunzipSync(this.blob(descriptor));
  }

  blobs(): string[] {
    return readdirSync(join(this.folder, "blobs", "sha256")).map((name) => `sha256:${name}`).sort();
  }

  /** The root file system, without /tmp. */
  unpack(tag: string, bundle: string): string {
    const rootless = process.getuid?.() === 0 ? [] : ["--rootless"];
    must(["umoci", "unpack", ...rootless, "--image", `${this.folder}:${tag}`, bundle]);
    const root = join(bundle, "rootfs");
    rmSync(join(root, "tmp"), { recursive: true });
    return root;
  }
}

/** Why processes cannot be run here as Kubernetes would run them; undefined: they can. */
export function whyNoContainers(): string | undefined {
  if (process.getuid?.() !== 0) return "only root can give a process another root and another user";
  for (const program of ["unshare", "setpriv", "chroot", "ip"]) {
    if (spawnSync("sh", ["-c", 'command -v "$0"', program]).status !== 0) return `there is no ${program}`;
  }
  const { status, stderr } = spawnSync("unshare", ["--mount", "--net", "--pid", "--fork", "true"], {
    encoding: "utf8",
  });
  return status === 0 ? undefined : `namespaces are forbidden: ${stderr.trim()}`;
}

export interface Mount {
  /** Within the root. */
  readonly at: string;
  /** A folder of this machine; undefined: an empty one in memory. */
  readonly from?: string;
  readonly readOnly?: boolean;
  /** Of an empty one. */
  readonly owner?: number;
}

export interface ContainerOptions {
  readonly root: string;
  readonly mounts: readonly Mount[];
  readonly env: Readonly<Record<string, string>>;
  readonly user: number;
  readonly group: number;
  /** Without CAP_, in small letters. */
  readonly capabilities: readonly string[];
  /** As allowPrivilegeEscalation: false has it. */
  readonly noNewPrivileges: boolean;
  /** Shell lines; `ambient` runs the executable in the root, `contained` does so as the container's user. */
  readonly script: string;
}

export interface Ended {
  readonly status: number | null;
  readonly output: string;
}

/** What takes a process into its root, and is the only thing that it has beyond what Kubernetes would give it. */
const CHANGE_ROOT = "sys_chroot";

/**
 * Runs a script beside a root as a container has it: read-only, namespaces of its own for mounts, network and processes,
 * loopback up, /proc, no /tmp and no /dev. Mount points are made before, as a container's runtime makes them.
 */
export async function inContainer(options: ContainerOptions): Promise<Ended> {
  const { root, mounts, env, user, group, capabilities, noNewPrivileges } = options;
  for (const { at } of mounts) mkdirSync(mountPoint(root, at), { recursive: true });
  const bounding = ["-all", ...[...capabilities, CHANGE_ROOT].map((name) => `+${name}`)].join(",");
  const privileges = noNewPrivileges ? ["--no-new-privs"] : [];
  // Whoever stops being root loses all capabilities by it; root keeps what bounds it, so that is what must be small.
  const contained =
    (user === 0
      ? ["setpriv", ...privileges, `--bounding-set=${bounding}`, `--regid=${group}`, `--groups=${group}`, "chroot"]
      : ["setpriv", ...privileges, "chroot", `--userspec=${user}:${group}`, `--groups=${group}`]).join(" ");
  const script = [
    "set -eu",
    "root=$1",
    "ip link set lo up",
    'mount --bind "$root" "$root"',
    'mount -o remount,bind,ro "$root"',
    'mount -t proc proc "$root/proc"',
    ...mounts.map((mount) => mountLine(root, mount)),
    `contained() { exec ${contained} "$root" /ambient "$@"; }`,
    'ambient() { chroot "$root" /ambient "$@"; }',
    options.script,
  ].join("\n");
  const unshare = ["--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh", root];
  const child = spawn("unshare", unshare, {
    env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8");
    stream.on("data", (text: string) => output += text);
  }
  const status = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  return { status, output };
}

/** /var/run is a link to /run, which is another place outside of the root. */
function mountPoint(root: string, at: string): string {
  return join(root, at.replace(/^\/var\/run\//, "/run/"));
}

function mountLine(root: string, { at, from, readOnly = false, owner = 0 }: Mount): string {
  const point = `"${mountPoint(root, at)}"`;
  if (from === undefined) return `mount -t tmpfs -o uid=${owner},gid=${owner},mode=0700 tmpfs ${point}`;
  const bind = `mount --bind "${from}" ${point}`;
  return readOnly ? `${bind}\nmount -o remount,bind,ro ${point}` : bind;
}
