/** An application outside the mesh in a pod: `secure.mjs` under Node. */
import type { LabPod, LabProcess } from "../topology/mod.ts";
import { peerProcess } from "./echo_application.ts";

export interface SecurePlan {
  readonly port: number;
  /** PEM. */
  readonly key: string;
  readonly chain: string;
}

/** What it saw of a request's connection. */
export interface SeenConnection {
  /** Its number, from 1 on. */
  readonly connection: number;
  readonly secure: boolean;
  /** Empty: none was sent. */
  readonly sni: string;
  /** Addresses are `ip:port`. */
  readonly proxy: { readonly version: number; readonly source: string; readonly destination: string } | null;
}

export class SecureApplication {
  readonly process: LabProcess;

  private constructor(process: LabProcess) {
    this.process = process;
  }

  /** @throws DeadlineError when it does not come up */
  static async start(pod: LabPod, plan: SecurePlan): Promise<SecureApplication> {
    const process = peerProcess(pod, "secure.mjs", [JSON.stringify(plan)]);
    await process.line((line) => line === "ready", 20_000);
    return new SecureApplication(process);
  }

  /** Waits until a connection has ended. @throws DeadlineError */
  async closed(connection: number): Promise<void> {
    await this.process.line((line) => line === `closed ${connection}`);
  }

  /** Waits until a request for this path has come. @throws DeadlineError */
  async asked(path: string): Promise<void> {
    await this.process.line((line) => line === `GET ${path}`);
  }

  stop(): Promise<number> {
    return this.process.stop("SIGKILL");
  }
}
