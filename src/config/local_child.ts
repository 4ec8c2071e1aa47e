/**
 * Reading a local file in a child process.
 *
 * The YAML parser and the validator take some 20 MB of memory. A proxy that had them in its own heap would keep that
 * for ever, and a Worker gives back only half of it when it ends; a child gives back all, and a large file does not
 * hold up the event loop either.
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { type DocumentResult, reviveResult } from "./local_document.ts";

/** Hidden subcommand of the executable: text on standard input, DocumentResult as JSON on standard output. */
export const PARSE_COMMAND = "parse-local-file";

/** Entry file of a compiled executable, in Bun's embedded file system. */
const EMBEDDED = "/$bunfs/";

/** Reads a local file's text wherever that costs least: in a child, or here if no child can be had. */
export async function parseLocalText(text: string, path: string): Promise<DocumentResult> {
  return await parseInChild(text, path) ?? await parseHere(text, path);
}

async function parseHere(text: string, path: string): Promise<DocumentResult> {
  const { parseLocalDocument } = await import("./local_parse.ts");
  return parseLocalDocument(text, path);
}

/** undefined if there is no starting a child, or if it did not end well. */
async function parseInChild(text: string, path: string): Promise<DocumentResult | undefined> {
  const command = Bun.main.startsWith(EMBEDDED)
    ? [process.execPath, PARSE_COMMAND, path]
    : [process.execPath, fileURLToPath(new URL("./local_child_main.ts", import.meta.url)), path];
  try {
    const child = Bun.spawn(command, { stdin: new Blob([text]), stdout: "pipe", stderr: "ignore" });
    const [output, code] = await Promise.all([new Response(child.stdout).text(), child.exited]);
    return code === 0 ? reviveResult(JSON.parse(output) as DocumentResult) : undefined;
  } catch {
    return undefined;
  }
}

/** The child's part. */
export async function runParseCommand(path: string): Promise<void> {
  const result = await parseHere(readFileSync(0, "utf8"), path);
  await Bun.write(Bun.stdout, JSON.stringify(result));
}
