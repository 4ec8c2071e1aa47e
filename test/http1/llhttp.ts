/** Requests as Node's own parser, llhttp, reads them: one child process for all of them. */
import { Buffer } from "node:buffer";

export interface LlhttpMessage {
  readonly version: string;
  readonly method: string;
  readonly target: string;
  readonly fields: [name: string, value: string][];
  readonly trailers: [name: string, value: string][];
  readonly content: string;
  readonly upgrade: boolean;
  readonly keepAlive: boolean;
  readonly complete: boolean;
}

export interface LlhttpResult {
  readonly messages: LlhttpMessage[];
  /** `HPE_…`, or "". */
  readonly error: string;
  readonly reason: string;
}

/** Needs `node` on the path, which the project's set-up needs as well. */
export async function readByLlhttp(inputs: readonly Uint8Array[]): Promise<LlhttpResult[]> {
  const node = Bun.which("node");
  if (node === null) throw new Error("node is not on the path");
  const child = Bun.spawn([node, "--no-deprecation", `${import.meta.dir}/llhttp_child.cjs`], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "inherit",
  });
  child.stdin.write(JSON.stringify(inputs.map((input) => Buffer.from(input).toString("base64"))));
  await child.stdin.end();
  const output = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) throw new Error(`node ended with ${child.exitCode}`);
  return (JSON.parse(output) as { results: LlhttpResult[] }).results;
}
