// An HBONE client that sends whatever bytes it is told to, over good TLS.
import { PREFACE, readUint31, readUint32 } from "../../src/http2/frames.ts";
import { HpackDecoder } from "../../src/http2/hpack/decoder.ts";
import { FrameType } from "../../src/http2/frames.ts";
import type { WorkloadCertificate } from "../../src/identity/mod.ts";
import { clientContext, DEFAULT_TLS_POLICY } from "../../src/tls/mod.ts";
import { type Frame, frame, headers, join, settings, SETTINGS_ACK } from "../http2/wire.ts";

const END_STREAM = 1;
const END_HEADERS = 4;

export class RawPeer {
  /** Frames of the server, without SETTINGS and window updates. */
  readonly frames: Frame[] = [];
  closed = false;
  readonly #socket: Bun.Socket<undefined>;
  readonly #decoder = new HpackDecoder(4096);
  readonly #statuses = new Map<number, string>();
  #unread: Uint8Array = new Uint8Array(0);
  #unsent: Uint8Array = new Uint8Array(0);

  private constructor(socket: Bun.Socket<undefined>) {
    this.#socket = socket;
  }

  static connect(port: number, certificate: WorkloadCertificate): Promise<RawPeer> {
    return new Promise((resolve, reject) => {
      let peer: RawPeer | undefined;
      Bun.connect<undefined>({
        hostname: "127.0.0.1",
        port,
        allowHalfOpen: true,
        tls: clientContext(certificate, DEFAULT_TLS_POLICY),
        socket: {
          handshake(socket: Bun.Socket<undefined>) {
            peer = new RawPeer(socket);
            peer.send(join(PREFACE, settings()));
            resolve(peer);
          },
          data: (_: unknown, chunk: Uint8Array) => peer?.received(chunk),
          drain: () => peer?.send(new Uint8Array(0)),
          end: (socket: Bun.Socket<undefined>) => void socket.end(),
          close() {
            if (peer !== undefined) peer.closed = true;
          },
          error() {},
        },
      } as unknown as Bun.TCPSocketConnectOptions<undefined>).catch(reject);
    });
  }

  send(bytes: Uint8Array): void {
    const all = this.#unsent.length === 0 ? bytes : join(this.#unsent, bytes);
    const written = Math.max(0, this.#socket.write(all));
    this.#unsent = all.slice(written);
  }

  /** A CONNECT of these fields, in frames of at most `size` octets. */
  request(streamId: number, fields: [string, string][], options: { end?: boolean; size?: number } = {}): void {
    const whole = headers(streamId, END_HEADERS, ...fields).subarray(9);
    const size = options.size ?? 1 << 20;
    const pieces: Uint8Array[] = [];
    for (let at = 0; at < whole.length; at += size) {
      const flags = (at + size >= whole.length ? END_HEADERS : 0) | (at === 0 && options.end ? END_STREAM : 0);
      const type = at === 0 ? FrameType.HEADERS : FrameType.CONTINUATION;
      pieces.push(frame(type, flags, streamId, whole.subarray(at, at + size)));
    }
    this.send(join(...pieces));
  }

  data(streamId: number, text: string, end = false): void {
    this.send(frame(FrameType.DATA, end ? END_STREAM : 0, streamId, text));
  }

  reset(streamId: number): void {
    this.send(frame(FrameType.RST_STREAM, 0, streamId, [0, 0, 0, 8]));
  }

  status(streamId: number): string | undefined {
    return this.#statuses.get(streamId);
  }

  /** Code of RST_STREAM. */
  resetOf(streamId: number): number | undefined {
    const found = this.frames.find((f) => f.type === FrameType.RST_STREAM && f.streamId === streamId);
    return found === undefined ? undefined : readUint32(found.payload, 0);
  }

  /** Code of GOAWAY. */
  get goaway(): number | undefined {
    const found = this.frames.find((f) => f.type === FrameType.GOAWAY);
    return found === undefined ? undefined : readUint32(found.payload, 4);
  }

  /** DATA received on a stream, as text. */
  text(streamId: number): string {
    return this.frames.filter((f) => f.type === FrameType.DATA && f.streamId === streamId)
      .map((f) => new TextDecoder().decode(f.payload)).join("");
  }

  ended(streamId: number): boolean {
    return this.frames.some((f) =>
      (f.type === FrameType.DATA || f.type === FrameType.HEADERS) && f.streamId === streamId && (f.flags & 1) !== 0
    );
  }

  close(): void {
    this.#socket.terminate();
  }

  received(chunk: Uint8Array): void {
    const bytes = join(this.#unread, chunk);
    let at = 0;
    while (bytes.length - at >= 9) {
      const length = readUint32(bytes, at) >>> 8;
      if (bytes.length - at < 9 + length) break;
      this.#frame({
        type: bytes[at + 3]!,
        flags: bytes[at + 4]!,
        streamId: readUint31(bytes, at + 5),
        payload: bytes.slice(at + 9, at + 9 + length),
      });
      at += 9 + length;
    }
    this.#unread = bytes.slice(at);
  }

  #frame(one: Frame): void {
    if (one.type === FrameType.WINDOW_UPDATE) return;
    if (one.type === FrameType.SETTINGS) {
      if ((one.flags & 1) === 0) this.send(SETTINGS_ACK);
      return;
    }
    if (one.type === FrameType.HEADERS) {
      const list = this.#decoder.decode(one.payload, 0, one.payload.length, 1 << 20);
      if (list === undefined) throw new Error(this.#decoder.error);
      this.#statuses.set(one.streamId, list.find(([name]) => name === ":status")?.[1] ?? "none");
    }
    this.frames.push(one);
  }
}
