import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const RULE = `\n${"=".repeat(100)}\n`;

/** Folders of the packages that the bundled files come from, e.g. `node_modules/@bufbuild/protobuf`. */
function packageFolders(inputs: readonly string[]): Map<string, string[]> {
  const folders = new Map<string, string[]>();
  for (const input of inputs) {
    const folder = /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0];
    if (folder === undefined) continue;
    const files = folders.get(folder) ?? [];
    files.push(input);
    folders.set(folder, files);
  }
  return folders;
}

/** Copyright notices at the head of source files, each once: what a package without a licence file says. */
function headerNotices(root: string, files: readonly string[]): string[] {
  const notices = new Set<string>();
  for (const file of files) {
    const notice = /^(?:\/\/.*\n)+/.exec(readFileSync(join(root, file), "utf8"))?.[0] ?? "";
    if (/copyright/i.test(notice)) notices.add(notice.replace(/^\/\/ ?/gm, "").trimEnd());
  }
  return [...notices].sort();
}

function packageLicense(root: string, folder: string, files: readonly string[]): string {
  const manifest = JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8")) as Record<string, unknown>;
  const title = `${manifest["name"]} ${manifest["version"]} (${manifest["license"]})`;
  const texts = readdirSync(join(root, folder))
    .filter((name) => /^(licen[sc]e|copying|notice)/i.test(name))
    .sort()
    .map((name) => readFileSync(join(root, folder, name), "utf8").trimEnd());
  const bodies = texts.length > 0 ? texts : headerNotices(root, files);
  if (bodies.length === 0) throw new Error(`${folder}: neither a licence file nor copyright notices`);
  return [title, ...bodies].join("\n\n");
}

/** Our licence, then those of the runtime and of every package of which the bundle has a file. */
export function collectLicenses(root: string, inputs: readonly string[]): string {
  const own = readFileSync(join(root, "LICENSE"), "utf8").trim();
  const runtimeNotice = join(root, "node_modules", "bun-types", "docs", "project", "license.mdx");
  if (!existsSync(runtimeNotice)) throw new Error(`${runtimeNotice}: the runtime's licence is missing`);
  const runtime = readFileSync(runtimeNotice, "utf8").replace(/^---[\s\S]*?---\s*/, "").trim();
  const packages = [...packageFolders(inputs)]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([folder, files]) => packageLicense(root, folder, files));
  return [`ambient\n\n${own}`, `Bun ${Bun.version}\n\n${runtime}`, ...packages].join(RULE) + "\n";
}
