import { spawnSync } from "node:child_process";

function git(root: string, ...args: string[]): string | undefined {
  const { status, stdout } = spawnSync("git", args, { cwd: root, encoding: "utf8" });
  return status === 0 ? stdout.trim() : undefined;
}

/** The commit of the tree, with `-dirty` when tracked files differ from it; `unknown` outside a repository. */
export function gitRevision(root: string): string {
  const commit = git(root, "rev-parse", "HEAD");
  if (commit === undefined) return "unknown";
  return git(root, "status", "--porcelain", "--untracked-files=no") === "" ? commit : `${commit}-dirty`;
}
