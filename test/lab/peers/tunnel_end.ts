/** The end of HBONE tunnels by another hand: `tunnel_end.mjs` under Node, and what it was asked for. */
import { eventually, type LabPod, type LabProcess } from "../topology/mod.ts";
import { peerProcess } from "./echo_application.ts";

export interface TunnelEndPlan {
  /** PEM: the one certificate that it shows. */
  readonly key: string;
  readonly chain: string;
  /** Default 15008. */
  readonly port?: number;
  /** Where the tunnel for an authority leads; without one, to the port that was asked for, in the pod itself. */
  readonly to?: Readonly<Record<string, { readonly ip: string; readonly port: number }>>;
  /** Answer to every CONNECT; default 200. */
  readonly status?: number;
}

/** One CONNECT as it came. */
export interface SeenConnect {
  readonly headers: Readonly<Record<string, string>>;
  /** SPIFFE id of the client's certificate; empty: it showed none. */
  readonly identity: string;
  /** Address that the TCP connection came from. */
  readonly remote: string;
}

const MARK = "CONNECT ";

export class TunnelEnd {
  readonly process: LabProcess;

  private constructor(process: LabProcess) {
    this.process = process;
  }

  /** @throws DeadlineError when it does not come up */
  static async start(pod: LabPod, plan: TunnelEndPlan): Promise<TunnelEnd> {
    const process = peerProcess(pod, "tunnel_end.mjs", [JSON.stringify(plan)]);
    await process.line((line) => line === "ready", 20_000);
    return new TunnelEnd(process);
  }

  /** What it was asked for until now, in order. */
  get seen(): SeenConnect[] {
    return this.process.lines.filter((line) => line.startsWith(MARK)).map((line) =>
      JSON.parse(line.slice(MARK.length))
    );
  }

  /** Waits for the CONNECT number `index`, from 0 on. @throws DeadlineError */
  asked(index: number): Promise<SeenConnect> {
    return eventually(`CONNECT ${index} at the tunnel's end`, () => this.seen[index]);
  }

  stop(): Promise<number> {
    return this.process.stop("SIGKILL");
  }
}
