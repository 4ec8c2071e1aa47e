/** A pattern of the configuration that cannot be used; the message names it and says why. */
export class MatchError extends Error {
  readonly pattern: string;
  readonly reason: string;

  constructor(kind: string, pattern: string, reason: string) {
    super(`${kind} ${JSON.stringify(pattern)}: ${reason}`);
    this.name = "MatchError";
    this.pattern = pattern;
    this.reason = reason;
  }
}
