import { expect, test } from "bun:test";
import { exposition, MetricRegistry, XdsMetrics } from "../../../src/telemetry/mod.ts";
import { ADDRESS_TYPE } from "../../../src/xds/mod.ts";
import { parseExposition } from "../../telemetry/exposition.ts";

const scrape = (registry: MetricRegistry) => parseExposition([...exposition(registry)].join(""));

test("families of the stream to the control plane (spec/ztunnel.md §10.1)", () => {
  const registry = new MetricRegistry();
  const metrics = new XdsMetrics(registry);
  // Nothing is shown of what has not happened.
  const series = metrics.type(ADDRESS_TYPE);
  expect([...scrape(registry).keys()]).toEqual([]);
  metrics.connected = true;
  metrics.terminated("Complete");
  series.messages.value++;
  series.bytes.value += 5;
  series.refused.value++;
  const families = scrape(registry);
  const shown = [...families.values()].map(({ name, type, help, samples }) => {
    expect([name, help]).toEqual([name, expect.stringMatching(/unstable.*\.$/)]);
    return [name, type, samples.map(({ labels, value }) => [Object.fromEntries(labels), value])];
  });
  const url = ADDRESS_TYPE;
  expect(shown).toEqual([
    ["istio_xds_connection_terminations", "counter", [[{ reason: "Complete" }, 1]]],
    ["istio_xds_message", "counter", [[{ url }, 1]]],
    ["istio_xds_message_bytes", "counter", [[{ url }, 5]]],
    ["ambient_xds_resources_refused", "counter", [[{ url }, 1]]],
    ["ambient_xds_connected", "gauge", [[{}, 1]]],
  ]);
});
