import { describe, expect, test } from "bun:test";
import { normalizePath, type PathOptions } from "../../../src/waypoint/routing/mod.ts";
import { Random } from "../../http2/random.ts";

const ISTIO: PathOptions = { normalizePath: true, mergeSlashes: false, escapedSlashes: "keep" };
const MERGE: PathOptions = { ...ISTIO, mergeSlashes: true };
const DECODE: PathOptions = { ...MERGE, escapedSlashes: "unescape" };
const NONE: PathOptions = { normalizePath: false, mergeSlashes: false, escapedSlashes: "keep" };

const CASES: [options: PathOptions, path: string, normal: string | undefined][] = [
  [ISTIO, "/", "/"],
  [ISTIO, "*", "*"],
  [ISTIO, "", ""],
  [ISTIO, "/a/b?c=/../d", "/a/b?c=/../d"],
  [ISTIO, "/a/./b", "/a/b"],
  [ISTIO, "/a/../b", "/b"],
  [ISTIO, "/../../b", "/b"],
  [ISTIO, "/a/b/..", "/a/"],
  [ISTIO, "/a/b/.", "/a/b/"],
  [ISTIO, "/..", "/"],
  [ISTIO, "/a/...", "/a/..."],
  [ISTIO, "/.well-known/x", "/.well-known/x"],
  [ISTIO, "/a//b", "/a//b"],
  [ISTIO, "/a//../b", "/a/b"],
  [ISTIO, "/%61dmin", "/admin"],
  [ISTIO, "/%41%7e%2D%5f", "/A~-_"],
  [ISTIO, "/a/%2e%2E/b", "/b"],
  [ISTIO, "/a/.%2e/b?x=%2e", "/b?x=%2e"],
  [ISTIO, "/a%2fb%5Cc", "/a%2fb%5Cc"],
  [ISTIO, "/a%20b%3f%25", "/a%20b%3f%25"],
  [ISTIO, "/%2561", "/%2561"],
  [ISTIO, "/a\\b\\..\\c", "/a/c"],
  [ISTIO, "/a?b\\c", "/a?b\\c"],
  [ISTIO, "/a%00b", undefined],
  [ISTIO, "/a%", "/a%"],
  [ISTIO, "/a%2", "/a%2"],
  [ISTIO, "/a%zz", "/a%zz"],
  [ISTIO, '/a|b"<>^`{}', "/a%7Cb%22%3C%3E%5E%60%7B%7D"],
  [NONE, "/a|b", "/a|b"],
  [ISTIO, "/a/..;/b", "/b"],
  [ISTIO, "/a/.;x=1/b", "/a/b"],
  [ISTIO, "/a/..;", "/"],
  [ISTIO, "/a/%2e%2e;/b", "/b"],
  [ISTIO, "/a/x..;/b;y/c", "/a/x..;/b;y/c"],
  [ISTIO, "/a?b%zz", "/a?b%zz"],
  [ISTIO, "/a#b", "/a"],
  [ISTIO, "/\xc3\xa9", "/%C3%A9"],
  [ISTIO, "/a?b#c", "/a?b"],
  [MERGE, "//a///b//", "/a/b/"],
  [MERGE, "/a/.//b", "/a/b"],
  [MERGE, "/a?b//c", "/a?b//c"],
  [DECODE, "/a%2Fb", "/a/b"],
  [DECODE, "/a%2f%2e%2e%5cb", "/b"],
  [DECODE, "/a%2f/b", "/a/b"],
  [NONE, "/a/../%61\\b%zz", "/a/../%61\\b%zz"],
  [NONE, "/a#b", "/a"],
  [{ ...NONE, mergeSlashes: true }, "/a//%61/..", "/a/%61/.."],
  [{ ...NONE, escapedSlashes: "unescape" }, "/a%2fb%5c%61%", "/a/b\\%61%"],
];

describe("normalizePath", () => {
  for (const [options, path, normal] of CASES) {
    test(`${JSON.stringify(path)} with ${JSON.stringify(options)}`, () => {
      expect(normalizePath(path, options)).toBe(normal!);
    });
  }

  for (let seed = 0; seed < 20; seed++) {
    test(`done twice is done once, and nothing grows, seed ${seed}`, () => {
      const random = new Random(seed);
      const parts = ["/", "/", ".", "..", "%2e", "%2F", "%5c", "\\", "a", "%61", "%25", "?", "b", "%7E", "%3f"];
      let normalised = 0;
      for (let i = 0; i < 500; i++) {
        const options: PathOptions = {
          normalizePath: random.chance(80),
          mergeSlashes: random.chance(50),
          escapedSlashes: random.chance(50) ? "keep" : "unescape",
        };
        let path = "/";
        for (let n = random.below(12); n > 0; n--) path += random.pick(parts);
        const once = normalizePath(path, options);
        expect(once).toBeDefined();
        expect(once!.length).toBeLessThanOrEqual(path.length);
        expect(normalizePath(once!, options)).toBe(once!);
        if (once !== path) normalised++;
        const pathname = once!.split("?")[0]!;
        if (options.normalizePath) expect(`${pathname}/`).not.toMatch(/\/\.{1,2}\/|\\|%61|%2e|%7E/);
        if (options.mergeSlashes) expect(pathname).not.toContain("//");
      }
      expect(normalised).toBeGreaterThan(100);
    });
  }
});
