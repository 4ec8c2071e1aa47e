import { expect, test } from "bun:test";
import { Ejections } from "../../src/ztunnel/ejection.ts";
import { address, pod } from "../mesh/fixtures.ts";

const client = pod("client", "10.0.0.9");
const web = pod("web", "10.0.0.1");
const db = pod("db", "10.0.0.2");
const vip = address("10.96.0.1:80");
const other = address("10.96.0.1:443");
const REFUSED = "io error: Connection refused (os error 111)";
const TIMED_OUT = "io error: Connection timed out (os error 110)";

/** How long from now an endpoint is passed over, ms. */
function passedOver(ejections: Ejections, clock: { now: number }): number {
  const start = clock.now;
  while (ejections.avoid(client, vip)?.(web)) clock.now += 100;
  return clock.now - start;
}

function learning() {
  const clock = { now: 1_000_000 };
  return { clock, ejections: new Ejections(() => clock.now) };
}

test("nothing is asked while nobody has failed", () => {
  expect(learning().ejections.avoid(client, vip)).toBeUndefined();
});

test("an endpoint that failed is passed over for the destination that was asked for", () => {
  const { ejections } = learning();
  ejections.failed(client, web, vip, REFUSED);
  expect([
    ejections.avoid(client, vip)?.(web),
    ejections.avoid(client, vip)?.(db),
    ejections.avoid(client, other)?.(web),
  ])
    .toEqual([true, false, false]);
});

test("what one pod has learnt is nothing to another", () => {
  const { ejections } = learning();
  ejections.failed(client, web, vip, REFUSED);
  ejections.succeeded(db, web, vip);
  expect([ejections.avoid(client, vip)?.(web), ejections.avoid(db, vip)?.(web)]).toEqual([true, false]);
  expect([ejections.failures(client, vip).length, ejections.failures(db, vip).length]).toEqual([1, 0]);
});

test("each failure doubles the time, up to 30 s; long after, the count begins again", () => {
  const { clock, ejections } = learning();
  const pauses: number[] = [];
  for (let i = 0; i < 7; i++) {
    ejections.failed(client, web, vip, REFUSED);
    pauses.push(passedOver(ejections, clock));
  }
  expect(pauses).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  clock.now += 60_000;
  ejections.failed(client, web, vip, REFUSED);
  expect(passedOver(ejections, clock)).toBe(1_000);
});

test("a connect that goes well clears the record", () => {
  const { clock, ejections } = learning();
  ejections.failed(client, web, vip, REFUSED);
  ejections.failed(client, web, vip, REFUSED);
  ejections.succeeded(client, web, vip);
  expect(ejections.avoid(client, vip)).toBeUndefined();
  ejections.failed(client, web, vip, REFUSED);
  expect(passedOver(ejections, clock)).toBe(1_000);
});

test("what is remembered is bounded: the oldest failure is forgotten", () => {
  const { ejections } = learning();
  for (let port = 1; port <= 5_000; port++) ejections.failed(client, web, { ip: "10.96.0.1", port }, REFUSED);
  expect(ejections.size).toBe(4_096);
  expect(ejections.avoid(client, { ip: "10.96.0.1", port: 1 })?.(web)).toBe(false);
  expect(ejections.avoid(client, { ip: "10.96.0.1", port: 5_000 })?.(web)).toBe(true);
});

test("the last failures of a destination are told with their text and age, the latest first, until they are forgiven", () => {
  const { clock, ejections } = learning();
  expect(ejections.failures(client, vip)).toEqual([]);
  ejections.failed(client, web, vip, TIMED_OUT);
  ejections.failed(client, db, other, REFUSED);
  clock.now += 5_000;
  ejections.failed(client, db, vip, REFUSED);
  clock.now += 1_500;
  expect(ejections.failures(client, vip)).toEqual([
    { uid: db.uid, error: REFUSED, age: 1_500 },
    { uid: web.uid, error: TIMED_OUT, age: 6_500 },
  ]);
  ejections.failed(client, web, vip, REFUSED);
  expect(ejections.failures(client, vip)[0]).toEqual({ uid: web.uid, error: REFUSED, age: 0 });
  ejections.succeeded(client, web, vip);
  expect(ejections.failures(client, vip).map(({ uid }) => uid)).toEqual([db.uid]);
  clock.now += 59_400; // its ejection of 1 s ended 60 s ago, less 100 ms
  expect(ejections.failures(client, vip)).toHaveLength(1);
  clock.now += 100;
  expect(ejections.failures(client, vip)).toEqual([]);
});
