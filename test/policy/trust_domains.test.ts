import { expect, test } from "bun:test";
import { expandTrustDomains } from "../../src/policy/trust_domains.ts";

test.each<[string[], string, string[]]>([
  [["cluster.local"], "cluster.local/ns/foo/sa/bar", ["cluster.local/ns/foo/sa/bar"]],
  [["td2", "td1"], "td1/ns/foo/sa/bar", ["td2/ns/foo/sa/bar", "td1/ns/foo/sa/bar"]],
  [["td1"], "cluster.local/ns/foo/sa/bar", ["td1/ns/foo/sa/bar"]],
  [["td2", "td1"], "foreign/ns/foo/sa/bar", ["foreign/ns/foo/sa/bar"]],
  [["td2", "td1"], "*", ["*"]],
  [["td2", "td1"], "*/ns/foo/sa/bar", ["*/ns/foo/sa/bar"]],
  [["td2", "td1"], "td1/ns/foo/*", ["td1/ns/foo/*"]],
  [["td2", "td1"], "td1/ns/foo/sa/*", ["td2/ns/foo/sa/*", "td1/ns/foo/sa/*"]],
  [["new-td", "old-td", "other"], "*-td/ns/foo/sa/bar", ["*-td/ns/foo/sa/bar", "other/ns/foo/sa/bar"]],
])("%j: %s", (trustDomains, principal, expected) => {
  expect(expandTrustDomains([principal], trustDomains)).toEqual(expected);
});
