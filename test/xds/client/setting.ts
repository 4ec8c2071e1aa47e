/** A client of fake types on a fake channel, and what became of it. */
import { MetricRegistry, XdsMetrics } from "../../../src/telemetry/mod.ts";
import {
  AdsClient,
  type AdsPart,
  type RefusedResource,
  type ResourceType,
  type SubscriptionKind,
  type XdsNode,
} from "../../../src/xds/mod.ts";
import { keptLogger } from "../../telemetry/lines.ts";
import { FakeChannel } from "./fake_channel.ts";
import { ManualClock } from "./manual_clock.ts";

export const FIRST = "type.googleapis.com/test.First";
export const SECOND = "type.googleapis.com/test.Second";
export const NODE: XdsNode = { id: "ztunnel~10.0.0.1~z.system~system.svc.cluster.local", metadata: { NAME: "z" } };

/** A type that keeps texts by name. */
export class TextType implements ResourceType {
  readonly typeUrl: string;
  readonly subscription: SubscriptionKind;
  readonly expected: boolean;
  readonly parts: AdsPart[] = [];
  readonly texts = new Map<string, string>();
  /** Texts that are refused. */
  refuse: (text: string) => string | undefined = () => undefined;
  /** Called at each part, before anything is done. */
  before: (part: AdsPart) => void = () => {};

  constructor(typeUrl: string, subscription: SubscriptionKind = "wildcard", expected = true) {
    this.typeUrl = typeUrl;
    this.subscription = subscription;
    this.expected = expected;
  }

  apply(part: AdsPart): readonly RefusedResource[] {
    this.before(part);
    // The bytes are not ours to keep.
    this.parts.push({
      ...part,
      resources: part.resources.map((one) => ({ ...one, value: new Uint8Array(one.value) })),
    });
    const refused: RefusedResource[] = [];
    for (const { name, value } of part.resources) {
      const text = new TextDecoder().decode(value);
      const error = this.refuse(text);
      if (error === undefined) this.texts.set(name, text);
      else refused.push({ name, error });
    }
    for (const name of part.removed) this.texts.delete(name);
    return refused;
  }

  get names(): string[] {
    return [...this.texts.keys()];
  }
}

export function setting(
  types: readonly ResourceType[],
  options: { readonly debug?: boolean; readonly onConnected?: () => void } = {},
) {
  const clock = new ManualClock();
  const channel = new FakeChannel();
  const { logger, lines } = keptLogger(options.debug ? { directives: "debug" } : {});
  const registry = new MetricRegistry();
  const client = new AdsClient({
    channel,
    node: NODE,
    types,
    log: logger.scope("ztunnel::xds::client"),
    metrics: new XdsMetrics(registry),
    clock,
    ...(options.onConnected === undefined ? {} : { onConnected: options.onConnected }),
  });
  return { clock, channel, client, lines, registry };
}

/** Connects and drops the first requests. */
export function connected(types: readonly ResourceType[], options: { readonly debug?: boolean } = {}) {
  const all = setting(types, options);
  all.client.start();
  all.channel.last.open();
  all.clock.settle();
  all.channel.last.sent();
  return all;
}

/** Whether a promise has been settled, once all that is due has run. */
export async function settled(promise: Promise<unknown>): Promise<boolean> {
  let done = false;
  void promise.then(() => done = true);
  await Promise.resolve();
  await Promise.resolve();
  return done;
}
