// Brings the pinned toolchain to a fresh machine (git, node, npm, registries) and runs a script with it.
//   node compile/setup.mjs            install only
//   node compile/setup.mjs run FILE…  install, then run FILE with bun
// It can be repeated: what is there already is left alone.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const BUN_VERSION = "1.4.5";
/** Peers of the lab's tests and demo, run by Node: gRPC and WebSocket by other hands than ours. */
const PEERS = { "@grpc/grpc-js": "1.14.7", ws: "8.23.0" };
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const tools = join(root, ".tools");
const bun = join(tools, "node_modules", ".bin", "bun");
/** A tree of their own: npm removes from a tree without a package.json what the command does not name. */
const peers = join(tools, "peers");

/** Runs a command to its end; on failure prints what it said and ends this process with its status. */
function must(command, args) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: root, encoding: "utf8" });
  if (error) {
    console.error(`setup: ${command}: ${error.message}`);
    process.exit(1);
  }
  if (status !== 0) {
    process.stderr.write(`${stdout}${stderr}`);
    console.error(`setup: '${command} ${args.join(" ")}' ended with ${status}`);
    process.exit(status ?? 1);
  }
  return stdout.trim();
}

function installBun() {
  if (existsSync(bun) && must(bun, ["--version"]) === BUN_VERSION) return;
  must("npm", ["install", "--prefix", tools, "--no-audit", "--no-fund", "--no-save", `bun@${BUN_VERSION}`]);
}

function installPackages() {
  const want = createHash("sha256").update(readFileSync(join(root, "bun.lock"))).digest("hex");
  const stamp = join(root, "node_modules", ".lock-digest");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === want) return;
  must(bun, ["install", "--frozen-lockfile"]);
  writeFileSync(stamp, want);
}

function installPeers() {
  const missing = Object.entries(PEERS).filter(([name, version]) => {
    const manifest = join(peers, "node_modules", name, "package.json");
    return !existsSync(manifest) || JSON.parse(readFileSync(manifest, "utf8")).version !== version;
  });
  if (missing.length === 0) return;
  const packages = Object.entries(PEERS).map(([name, version]) => `${name}@${version}`);
  must("npm", ["install", "--prefix", peers, "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", ...packages]);
}

installBun();
installPackages();
installPeers();
const [verb, ...rest] = process.argv.slice(2);
if (verb === "run") {
  // The child shares our process group, so Ctrl-C reaches it directly; we only wait for its own clean-up.
  const child = spawn(bun, rest, { cwd: root, stdio: "inherit", env: { ...process.env, AMBIENT_BUN: bun } });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    process.on(signal, () => signal === "SIGTERM" && child.kill(signal));
  }
  child.on("exit", (code, signal) => process.exit(signal ? 1 : code ?? 1));
}
