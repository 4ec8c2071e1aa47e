/** An image as an OCI archive, made by umoci: no daemon, no privileges. */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { makeRoot } from "./image_root.ts";
import { must, requirePrograms } from "./image_tools.ts";

export interface ImageOptions {
  /** The executable, which becomes /ambient. */
  readonly executable: string;
  /** The archive to write. */
  readonly outfile: string;
  /** With its tag, as nodes will know it, e.g. `localhost/ambient:0.1.0`. */
  readonly name: string;
  readonly version: string;
  readonly gitRevision: string;
  /** Of all files and of the image: the same sources make the same bytes. Seconds since 1970. */
  readonly epoch: number;
}

export interface Image {
  readonly bytes: number;
  /** `sha256:…` of the manifest. */
  readonly digest: string;
  /** Debian packages of the root, as `name=version`. */
  readonly packages: readonly string[];
}

/** What the Dockerfile says, too. */
const ENTRYPOINT = "/ambient";
const WORKING_DIRECTORY = "/";

/** Throws Error with what is missing or what a program said; the archive appears under its name only when it is complete. */
export function buildImage(options: ImageOptions): Image {
  requirePrograms(["apt-get", "dpkg-deb", "tar", "umoci"]);
  const scratch = mkdtempSync(join(tmpdir(), "ambient-image-"));
  // Whoever makes the image may keep files to themselves; the image is for everybody.
  const mask = process.umask(0o022);
  try {
    const folder = (name: string) => {
      mkdirSync(join(scratch, name));
      return join(scratch, name);
    };
    const root = folder("root");
    const packages = makeRoot(root, folder("packages"));
    const own = folder("own");
    copyFileSync(options.executable, join(own, "ambient"));
    chmodSync(join(own, "ambient"), 0o755);
    const layout = join(scratch, "layout");
    writeLayout(layout, [
      { tar: layerOf(root, options.epoch), origin: "Debian packages" },
      { tar: layerOf(own, options.epoch), origin: "ambient" },
    ], options);
    const digest = nameImage(layout, options.name);
    mkdirSync(dirname(options.outfile), { recursive: true });
    const partial = `${options.outfile}.${process.pid}`;
    archive(layout, partial, options.epoch);
    renameSync(partial, options.outfile);
    return { bytes: Bun.file(options.outfile).size, digest, packages };
  } finally {
    process.umask(mask);
    // Packages may have folders that their owner cannot write.
    if (spawnSync("rm", ["-rf", scratch]).status !== 0) rmSync(scratch, { recursive: true, force: true });
  }
}

/** What tar says for the same files whenever and by whomever it is asked. */
function reproducible(epoch: number): string[] {
  return ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", `--mtime=@${epoch}`];
}

/** All of a folder as a tar beside it, whose files are root's. @returns its path */
function layerOf(folder: string, epoch: number): string {
  const path = `${folder}.tar`;
  const names = readdirSync(folder).sort();
  must(["tar", "-c", "--format=gnu", ...reproducible(epoch), "-f", path, "-C", folder, ...names]);
  return path;
}

interface Layer {
  readonly tar: string;
  /** For the image's history. */
  readonly origin: string;
}

/** Two layers, so that a new executable is all that nodes fetch for a new version. */
function writeLayout(layout: string, layers: readonly Layer[], options: ImageOptions): void {
  const { version, gitRevision, epoch } = options;
  const image = ["--image", `${layout}:${version}`];
  const created = new Date(epoch * 1000).toISOString();
  const history = (by: string) => ["--history.created", created, "--history.created_by", by];
  const labels = Object.entries({
    "org.opencontainers.image.title": "ambient",
    "org.opencontainers.image.version": version,
    "org.opencontainers.image.revision": gitRevision,
    "org.opencontainers.image.licenses": "Apache-2.0",
  });
  must(["umoci", "init", "--layout", layout]);
  must(["umoci", "new", ...image]);
  for (const { tar, origin } of layers) must(["umoci", "raw", "add-layer", ...image, ...history(origin), tar]);
  must([
    ...["umoci", "config"] as const,
    ...[...image, "--created", created, ...history("configuration")],
    ...["--config.entrypoint", ENTRYPOINT, "--config.workingdir", WORKING_DIRECTORY],
    ...labels.flatMap(([name, value]) => [
      ...["--config.label", `${name}=${value}`],
      ...["--manifest.annotation", `${name}=${value}`],
    ]),
  ]);
  must(["umoci", "gc", "--layout", layout]);
}

interface Descriptor {
  readonly digest: string;
  annotations?: Record<string, string>;
}

/**
 * Gives the image the name by which containerd imports it, and the list that `docker load` and `kind load` look for
 * in an archive. @returns the digest of the manifest
 */
function nameImage(layout: string, name: string): string {
  const read = <T>(path: string) => JSON.parse(readFileSync(join(layout, path), "utf8")) as T;
  const blob = (descriptor: Descriptor) => `blobs/${descriptor.digest.replace(":", "/")}`;
  const index = read<{ manifests: Descriptor[] }>("index.json");
  const [entry] = index.manifests;
  if (entry === undefined || index.manifests.length !== 1) throw new Error("umoci left other than one manifest");
  entry.annotations = { ...entry.annotations, "io.containerd.image.name": name };
  writeFileSync(join(layout, "index.json"), JSON.stringify(index));
  const manifest = read<{ config: Descriptor; layers: Descriptor[] }>(blob(entry));
  const list = [{ Config: blob(manifest.config), RepoTags: [name], Layers: manifest.layers.map(blob) }];
  writeFileSync(join(layout, "manifest.json"), JSON.stringify(list));
  return entry.digest;
}

function archive(layout: string, outfile: string, epoch: number): void {
  const files = ["oci-layout", "index.json", "manifest.json", "blobs"];
  must(["tar", "-c", "--mode=u=rwX,go=rX", ...reproducible(epoch), "-f", outfile, "-C", layout, ...files]);
}
