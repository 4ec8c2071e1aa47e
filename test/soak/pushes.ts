/** Changes told by the istiod, and taken by both ztunnels before anything is built on them. */
import type { MeshChange, PushSent } from "../istiod/mod.ts";
import type { Scene } from "./scene.ts";

/** Until a push is acknowledged, ms: a machine with other work is slow at times. */
const TAKEN_MS = 90_000;

export class Pushes {
  readonly #scene: Scene;
  readonly #failed: (error: unknown) => void;

  /** @param failed hears of a push that was not taken; the run goes on */
  constructor(scene: Scene, failed: (error: unknown) => void) {
    this.#scene = scene;
    this.#failed = failed;
  }

  put(change: MeshChange): Promise<void> {
    return this.taken(this.#scene.istiod.put(change));
  }

  async taken(push: Promise<PushSent>): Promise<void> {
    const sent = await push;
    try {
      await this.#scene.istiod.answers(sent, TAKEN_MS);
    } catch (error) {
      this.#failed(error);
    }
  }
}
