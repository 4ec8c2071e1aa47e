/** Facts of the demo, told one by one as they are found to hold or not. */

export class Facts {
  #failed = 0;
  #held = 0;
  readonly #say: (line: string) => void;

  constructor(say: (line: string) => void = console.log) {
    this.#say = say;
  }

  get failed(): number {
    return this.#failed;
  }

  get held(): number {
    return this.#held;
  }

  /** Tells whether a fact holds: `check` returns what to say of it, or throws why not. */
  async tell(fact: string, check: () => string | Promise<string>): Promise<boolean> {
    try {
      const detail = await check();
      this.#held++;
      this.#say(`ok   ${fact}${detail === "" ? "" : `: ${detail}`}`);
      return true;
    } catch (error) {
      this.#failed++;
      const reason = error instanceof Error ? error.message : String(error);
      this.#say(`FAIL ${fact}: ${reason.replaceAll("\n", "\n     ")}`);
      return false;
    }
  }

  /** Something that this machine cannot show, with the reason. */
  skip(fact: string, reason: string): void {
    this.#say(`skip ${fact}: ${reason}`);
  }
}

export function require(condition: boolean, otherwise: string): asserts condition {
  if (!condition) throw new Error(otherwise);
}
