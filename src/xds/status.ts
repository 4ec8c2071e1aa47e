/** How it stands with the control plane. */
import type { Subscription } from "./subscription.ts";

/** For the admin pages. Times are ms since the epoch. */
export interface AdsStatus {
  readonly connected: boolean;
  /** When the control plane first answered on the present stream, or the last one ended; undefined: there has been none. */
  readonly since: number | undefined;
  /** When the next try is due, while not connected. */
  readonly nextTry: number | undefined;
  /** Why the last stream ended or could not be opened; undefined: none has. */
  readonly lastError: string | undefined;
  readonly synced: boolean;
  readonly types: readonly AdsTypeStatus[];
}

export interface AdsTypeStatus {
  readonly typeUrl: string;
  /** Resources that are in force. */
  readonly resources: number;
  /** When a push of this type was last taken in whole. */
  readonly lastPush: number | undefined;
  /** What was last refused, as the control plane was told; gone with the next push that is accepted. */
  readonly refused: { readonly at: number; readonly error: string } | undefined;
}

export function typeStatus({ type, size, last }: Pick<Subscription, "type" | "size" | "last">): AdsTypeStatus {
  return {
    typeUrl: type.typeUrl,
    resources: size,
    lastPush: last?.at,
    refused: last?.error === undefined ? undefined : { at: last.at, error: last.error },
  };
}
