/** The root file system below the executable: what a distroless base has, made of Debian packages. */
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { aptGet, must, withPackageLists } from "./image_tools.ts";

/** C library and loader, the system's roots of trust, names of services and protocols, the tree itself. */
const PACKAGES = ["base-files", "ca-certificates", "libc6", "netbase"];

/** What nothing in an image without a shell reads. Licences stay: `copyright` files and what they refer to. */
const LEFT_OUT = [
  "./usr/share/doc/*/[!c]*",
  "./usr/share/doc/*/changelog*",
  "./usr/share/{man,info,lintian,base-files}",
  "./usr/lib/*/gconv",
  "./usr/sbin",
  "./etc/{ca-certificates,update-motd.d,skel,profile.d,ethertypes,rpc}",
];

/** Users and groups by number: those of a distroless base, and the one that Istio's pods run as. */
const USERS = [
  ["root", 0, "/root"],
  ["nobody", 65534, "/nonexistent"],
  ["nonroot", 65532, "/nonexistent"],
  ["istio-proxy", 1337, "/nonexistent"],
] as const;

/**
 * Makes the root in an empty folder.
 *
 * @param scratch another folder, for what is fetched
 * @returns the packages it consists of, as `name=version`
 * @throws Error where they cannot be fetched
 */
export function makeRoot(root: string, scratch: string): string[] {
  fetchPackages(scratch);
  const archives = readdirSync(scratch).filter((name) => name.endsWith(".deb")).sort();
  const excludes = LEFT_OUT.flatMap(expandBraces).map((pattern) => `--exclude=${pattern}`);
  const unpacked = join(scratch, "data.tar");
  for (const archive of archives) {
    const path = join(scratch, archive);
    must(["sh", "-c", 'dpkg-deb --fsys-tarfile "$0" > "$1"', path, unpacked]);
    must(["tar", "-x", "-p", "--no-same-owner", "-f", unpacked, "-C", root, ...excludes]);
  }
  rmSync(unpacked);
  // As the packages' own scripts would.
  for (const [path, target] of [["var/run", "/run"], ["var/lock", "/run/lock"]] as const) {
    rmSync(join(root, path), { recursive: true });
    symlinkSync(target, join(root, path));
  }
  writeBundle(root);
  writeFileSync(join(root, "etc", "passwd"), USERS.map(passwdLine).join(""));
  writeFileSync(join(root, "etc", "group"), USERS.map(([name, id]) => `${name}:x:${id}:\n`).join(""));
  writeFileSync(join(root, "etc", "nsswitch.conf"), "passwd: files\ngroup: files\nhosts: files dns\nservices: files\n");
  return archives.map((name) => name.replace(/^([^_]+)_([^_]+)_.*$/, "$1=$2").replaceAll("%3a", ":"));
}

/** The newest of each package for this machine's architecture. */
function fetchPackages(folder: string): void {
  try {
    withPackageLists(() => aptGet(["download", ...PACKAGES], folder));
  } catch (error) {
    throw new Error(`the root of an image consists of ${PACKAGES.join(", ")}, which cannot be fetched: ${error}`);
  }
}

/** All roots in one file, where TLS libraries look. */
function writeBundle(root: string): void {
  const folder = join(root, "usr", "share", "ca-certificates", "mozilla");
  const texts = readdirSync(folder).sort().map((name) => readFileSync(join(folder, name), "utf8"));
  rmSync(join(root, "usr", "share", "ca-certificates"), { recursive: true });
  mkdirSync(join(root, "etc", "ssl", "certs"), { recursive: true });
  writeFileSync(join(root, "etc", "ssl", "certs", "ca-certificates.crt"), texts.join(""));
}

function passwdLine([name, id, home]: (typeof USERS)[number]): string {
  return `${name}:x:${id}:${id}:${name}:${home}:/sbin/nologin\n`;
}

/** `a/{b,c}` as `a/b` and `a/c`: tar knows no braces. */
function expandBraces(pattern: string): string[] {
  const [, before = "", list, after = ""] = /^(.*)\{([^}]*)\}(.*)$/.exec(pattern) ?? [];
  return list === undefined ? [pattern] : list.split(",").map((word) => `${before}${word}${after}`);
}
