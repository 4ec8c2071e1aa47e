import type { ClientConnectionOwner } from "../../src/http/mod.ts";

/** Counts what a client connection says of itself. */
export class Owner implements ClientConnectionOwner {
  available = 0;
  draining = 0;
  closed = 0;
  onAvailable(): void {
    this.available++;
  }
  onDraining(): void {
    this.draining++;
  }
  onClosed(): void {
    this.closed++;
  }
}
