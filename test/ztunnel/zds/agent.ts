import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { WorkloadRequestSchema, WorkloadResponseSchema } from "../../../proto/gen/zds_pb.ts";
import type { AgentOutcome, AgentStep } from "./agent_thread.ts";

type Payload = MessageInitShape<typeof WorkloadRequestSchema>["payload"];

/** A CNI node agent that does exactly what a test says, one step at a time; it waits in a thread of its own. */
export class Agent {
  readonly #worker = new Worker(new URL("./agent_thread.ts", import.meta.url));
  readonly #waiting: { resolve(bytes: Uint8Array): void; reject(error: Error): void }[] = [];

  private constructor() {
    this.#worker.onmessage = ({ data }: MessageEvent<AgentOutcome>) => {
      const step = this.#waiting.shift();
      if (data.error === undefined) step?.resolve(data.bytes);
      else step?.reject(new Error(data.error));
    };
  }

  static async listen(path: string): Promise<Agent> {
    const agent = new Agent();
    await agent.#step({ step: "listen", path });
    return agent;
  }

  #step(step: AgentStep): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#worker.postMessage(step);
    });
  }

  /** The hello of the next client. */
  accept(): Promise<Uint8Array> {
    return this.#step({ step: "accept" });
  }

  /** The error text of the answer, "" for success. */
  async request(payload: Exclude<Payload, undefined>, fds: readonly number[] = []): Promise<string> {
    return this.#answer(
      await this.raw(toBinary(WorkloadRequestSchema, create(WorkloadRequestSchema, { payload })), fds),
    );
  }

  add(uid: string, fd: number): Promise<string> {
    const workloadInfo = { name: `name-${uid}`, namespace: "default", serviceAccount: "web" };
    return this.request({ case: "add", value: { uid, workloadInfo } }, [fd]);
  }

  snapshotSent(): Promise<string> {
    return this.request({ case: "snapshotSent", value: {} });
  }

  /** Sends these bytes and returns the answer's. */
  raw(bytes: Uint8Array, fds: readonly number[] = []): Promise<Uint8Array> {
    return this.#step({ step: "send", bytes, fds, answered: true });
  }

  /** The next packet of the client; empty when it has closed the connection. */
  receive(): Promise<Uint8Array> {
    return this.#step({ step: "receive" });
  }

  async hangUp(): Promise<void> {
    await this.#step({ step: "hang up" });
  }

  close(): void {
    this.#worker.terminate();
  }

  #answer(bytes: Uint8Array): string {
    const { payload } = fromBinary(WorkloadResponseSchema, bytes);
    if (payload.case !== "ack") throw new Error(`not an ack: ${bytes}`);
    return payload.value.error;
  }
}
