/** A wire tap: everything that passes an interface of a namespace, between two moments. */
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Subprocess } from "bun";
import {
  commandEnvironment,
  findProgram,
  type NetworkNamespace,
  recordPath,
  recordProcess,
  removePath,
} from "../topology/mod.ts";
import { type CapturedTraffic, readCapture } from "./capture_file.ts";

/** How long packets may take from the kernel to the tap's output after the last one was sent, milliseconds. */
const GRACE_MS = 300;

const TAP_PROGRAMS = ["tcpdump", "python3"] as const;
export type TapProgram = (typeof TAP_PROGRAMS)[number];

export class WireTap {
  readonly program: TapProgram;
  readonly #child: Subprocess<"ignore", Bun.BunFile, "pipe">;
  readonly #directory: string;

  /** What can tap here, best first: tcpdump, or a few lines of Python. */
  static programs(): TapProgram[] {
    return TAP_PROGRAMS.filter((name) => findProgram(name) !== undefined);
  }

  /** Starts tapping; resolves when packets are being seen. @throws Error when nothing here can */
  static async start(namespace: NetworkNamespace, device: string): Promise<WireTap> {
    const refusals: string[] = [];
    for (const program of WireTap.programs()) {
      const tap = new WireTap(program, namespace, device);
      try {
        await tap.#listening();
        return tap;
      } catch (error) {
        // In a user namespace tcpdump may be unable to become the user it wants to be.
        refusals.push((error as Error).message);
        removePath(tap.#directory);
      }
    }
    throw new Error(`no wire tap: ${refusals.join("; ") || "neither tcpdump nor python3 is installed"}`);
  }

  private constructor(program: TapProgram, namespace: NetworkNamespace, device: string) {
    this.program = program;
    const command = program === "tcpdump"
      ? ["tcpdump", "-i", device, "-Z", "root", "--immediate-mode", "-U", "-s", "0", "-w", "-", "tcp"]
      : ["python3", join(import.meta.dir, "tap.py"), device];
    this.#directory = mkdtempSync(join(tmpdir(), "ambient-tap-"));
    recordPath(this.#directory);
    this.#child = Bun.spawn(namespace.command(command), {
      stdio: ["ignore", Bun.file(this.#file), "pipe"],
      env: commandEnvironment(),
    });
    recordProcess(this.#child.pid);
  }

  async stop(): Promise<CapturedTraffic> {
    await Bun.sleep(GRACE_MS);
    this.#child.kill("SIGINT");
    await this.#child.exited;
    const captured = readFileSync(this.#file);
    removePath(this.#directory);
    return readCapture(captured);
  }

  get #file(): string {
    return join(this.#directory, "capture");
  }

  /** Waits for the program's word. Its stderr is read on to the end: closed under it, it would die of SIGPIPE. */
  #listening(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const read = async () => {
      let said = "";
      const decoder = new TextDecoder();
      for await (const chunk of this.#child.stderr) {
        said += decoder.decode(chunk);
        if (said.includes("listening on")) resolve();
      }
      reject(new Error(`${this.program}: ${said.trim()}`));
    };
    read().catch(reject);
    return promise;
  }
}
