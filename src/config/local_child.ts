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
import { type DocumentResult, type LoadOptions, type LocalFile, reviveResult } from "./local_document.ts";
import { packedLines, Unpacker } from "./packed.ts";

/** Hidden subcommand of the executable: ParseRequest as JSON on standard input, packed DocumentResult as JSON on standard output. */
export const PARSE_COMMAND = "parse-local-file";

/** Entry file of a compiled executable, in Bun's embedded file system. */
const EMBEDDED = "/$bunfs/";

/** What the child reads from its standard input, as JSON. */
interface ParseRequest {
  readonly files: readonly LocalFile[];
  readonly options: LoadOptions;
}

/** Reads one text of local state, see parseLocalFiles. */
export function parseLocalText(text: string, path: string, options: LoadOptions = {}): Promise<DocumentResult> {
  return parseLocalFiles([{ path, text }], options);
}

/** Reads the files of local state wherever that costs least: in a child, or here if no child can be had. */
export async function parseLocalFiles(
  files: readonly LocalFile[],
  options: LoadOptions = {},
): Promise<DocumentResult> {
  return await parseInChild({ files, options }) ?? await parseHere({ files, options });
}

async function parseHere({ files, options }: ParseRequest): Promise<DocumentResult> {
  const { parseLocalState } = await import("./local_parse.ts");
  return parseLocalState(files, options);
}

/** undefined if there is no starting a child, or if it did not end well. */
async function parseInChild(request: ParseRequest): Promise<DocumentResult | undefined> {
  const command = Bun.main.startsWith(EMBEDDED)
    ? [process.execPath, PARSE_COMMAND]
    : [process.execPath, fileURLToPath(new URL("./local_child_main.ts", import.meta.url))];
  try {
    const stdin = new Blob([JSON.stringify(request)]);
    const child = Bun.spawn(command, { stdin, stdout: "pipe", stderr: "ignore" });
    const [output, code] = await Promise.all([new Response(child.stdout).text(), child.exited]);
    return code === 0 ? reviveResult(await unpackLines(output) as DocumentResult) : undefined;
  } catch {
    return undefined;
  }
}

/** A large result must not hold up the event loop: connections go on between the lines. */
async function unpackLines(text: string): Promise<unknown> {
  let end = text.indexOf("\n");
  const unpacker = new Unpacker(end < 0 ? text : text.slice(0, end));
  while (end >= 0) {
    const start = end + 1;
    end = text.indexOf("\n", start);
    unpacker.add(end < 0 ? text.slice(start) : text.slice(start, end));
    await new Promise(setImmediate);
  }
  return unpacker.value;
}

/** The child's part. */
export async function runParseCommand(): Promise<void> {
  const result = await parseHere(JSON.parse(readFileSync(0, "utf8")) as ParseRequest);
  await Bun.write(Bun.stdout, [...packedLines(result)].join("\n"));
}
