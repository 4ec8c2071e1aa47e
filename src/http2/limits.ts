/** Allowance of one kind of event: `burst` at once, refilled by `perSecond`. */
export interface Rate {
  readonly burst: number;
  readonly perSecond: number;
}

/** What a peer may cost us before the connection ends with ENHANCE_YOUR_CALM. */
export interface Http2Limits {
  /** Requests that the peer takes back before we answered (CVE-2023-44487, "rapid reset"). */
  readonly peerResets: Rate;
  /** Streams that a peer's mistakes made us reset or refuse (CVE-2025-8671, "MadeYouReset"). */
  readonly provokedResets: Rate;
  /** SETTINGS frames, each of which costs an answer and a walk over the streams (CVE-2019-9515). */
  readonly settings: Rate;
  /** PING frames, each of which costs an answer (CVE-2019-9512). */
  readonly pings: Rate;
  /** DATA frames without data or end of stream (CVE-2019-9518). */
  readonly emptyData: Rate;
  /** PRIORITY and unknown frames, and frames for streams that are gone: read, and of no use. */
  readonly ignoredFrames: Rate;
  /** Frames of one header block (CVE-2024-27316, "CONTINUATION flood"). */
  readonly headerFrames: number;
  /** Octets of one header block before decoding; at least four times maxHeaderListSize is taken. */
  readonly headerBlockBytes: number;
  /** Entries of one SETTINGS frame. */
  readonly settingsEntries: number;
  /** Answers (SETTINGS and PING acknowledgements, RST_STREAM) written while the peer reads nothing. */
  readonly unreadAnswers: number;
}

export const DEFAULT_LIMITS: Http2Limits = {
  peerResets: { burst: 1000, perSecond: 200 }, // five times a server's 200 streams can vanish at once
  provokedResets: { burst: 500, perSecond: 50 },
  settings: { burst: 100, perSecond: 10 },
  pings: { burst: 1000, perSecond: 100 }, // room for peers that measure bandwidth by PING
  emptyData: { burst: 1000, perSecond: 100 },
  ignoredFrames: { burst: 10_000, perSecond: 1000 },
  headerFrames: 128,
  headerBlockBytes: 256 << 10,
  settingsEntries: 256,
  unreadAnswers: 10_000,
};

/** A token bucket that needs no timer: it looks at the clock only once its burst is used up. */
export class RateGuard {
  readonly #rate: Rate;
  #left: number;
  #since: number;

  constructor(rate: Rate, now: number) {
    this.#rate = rate;
    this.#left = rate.burst;
    this.#since = now;
  }

  /** Counts one event; false when it exceeds the rate. */
  take(now: () => number): boolean {
    if (this.#left >= 1) {
      this.#left--;
      return true;
    }
    const time = now();
    const refill = ((time - this.#since) / 1000) * this.#rate.perSecond;
    this.#since = time;
    this.#left = Math.min(this.#rate.burst, this.#left + refill);
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }
}
