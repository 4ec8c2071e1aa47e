import { Buffer } from "node:buffer";
import { describe, expect, test } from "bun:test";
import { ClientHelloReader, type ServerName } from "../../src/tls/client_hello.ts";
import {
  clientHello,
  extension,
  helloBody,
  type HelloParts,
  hostName,
  message,
  octets,
  records,
  serverName,
  vector,
} from "./hello_bytes.ts";

const NONE: ServerName = { kind: "none" };
const named = (name: string): ServerName => ({ kind: "name", name });
const MALFORMED: ServerName = { kind: "unreadable", reason: "the ClientHello is malformed" };
const TOO_LONG: ServerName = { kind: "unreadable", reason: "the ClientHello is too long" };
const NO_HELLO: ServerName = { kind: "unreadable", reason: "TLS without a ClientHello" };

function read(...pieces: readonly Uint8Array[]): ServerName | undefined {
  const reader = new ClientHelloReader();
  for (const piece of pieces) {
    const verdict = reader.receive(piece);
    if (verdict !== undefined) return verdict;
  }
  return undefined;
}

const bytes = (...values: readonly number[]) => new Uint8Array(values);
const hello = (parts: HelloParts) => records(message(helloBody(parts)));
const asks = (...extensions: readonly number[][]) => hello({ extensions });

const CASES: readonly (readonly [what: string, bytes: Uint8Array, expected: ServerName | undefined])[] = [
  ["a name", clientHello("web.example"), named("web.example")],
  ["upper case", clientHello("WEB.Example"), named("web.example")],
  ["an address, which clients should not send", clientHello("10.0.0.1"), named("10.0.0.1")],
  ["255 octets", clientHello("a".repeat(255)), named("a".repeat(255))],
  ["no server_name", clientHello(undefined), NONE],
  ["no extensions", hello({}), NONE],
  ["an empty block of extensions", asks(), NONE],
  ["no session id", hello({ sessionId: 0, extensions: [serverName(hostName("a"))] }), named("a")],
  ["SSL 3.0's version of the record", records(message(helloBody({ extensions: [] })), [], 0), NONE],
  ["bytes after the message", bytes(...clientHello("a.b"), 1, 2, 3), named("a.b")],
  ["an empty record first", bytes(22, 3, 1, 0, 0, ...clientHello("a.b")), named("a.b")],

  ["HTTP", bytes(...octets("GET / HTTP/1.1\r\n")), NONE],
  ["SSH", bytes(...octets("SSH-2.0-x\r\n")), NONE],
  ["SSL 2.0", bytes(0x80, 0x2e, 1, 3, 1), NONE],
  ["the first octet of TLS by chance", bytes(22, 1), NONE],
  ["a type of no record", bytes(25, 3), NONE],
  ["a NUL", bytes(0), NONE],

  ["nothing", bytes(), undefined],
  ["a header", bytes(22, 3, 1, 0, 100), undefined],
  ["an alert", bytes(21, 3, 1, 0, 2, 1, 0), NO_HELLO],
  ["an alert before it", bytes(21, 3, 1, 0, 2, 1, 0, ...clientHello("a.b")), NO_HELLO],
  ["change_cipher_spec before it", bytes(20, 3, 3, 0, 1, 1, ...clientHello("a.b")), NO_HELLO],
  ["a ServerHello", records(message(helloBody({}), 2)), NO_HELLO],
  ["text in a record", bytes(22, 3, 1, 0, 5, ...octets("hello")), NO_HELLO],
  [
    "an alert in the middle",
    bytes(...records(message(helloBody({})).slice(0, 20)), 21, 3, 1, 0, 2, 1, 0),
    { kind: "unreadable", reason: "another record inside the ClientHello" },
  ],
  [
    "another version in the middle",
    bytes(...records(message(helloBody({})).slice(0, 20)), 22, 4),
    { kind: "unreadable", reason: "a record of no version of TLS" },
  ],
  ["a record too long", bytes(22, 3, 1, 0x40, 1), { kind: "unreadable", reason: "a record is too long" }],
  ["a message too long", bytes(22, 3, 1, 0, 4, 1, 0, 0x40, 1), TOO_LONG],
  ["a message much too long", bytes(22, 3, 1, 0, 4, 1, 1, 0, 0), TOO_LONG],

  ["a session id too long", hello({ sessionId: 33, extensions: [] }), MALFORMED],
  ["bytes after the extensions", hello({ extensions: [], trailing: [0] }), MALFORMED],
  ["half a length of extensions", hello({ trailing: [0] }), MALFORMED],
  ["extensions shorter than they say", hello({ trailing: [0, 9, 0, 0] }), MALFORMED],
  ["an extension shorter than it says", asks([0, 0, 0, 9, 1]), MALFORMED],
  ["half an extension after the name", asks(serverName(hostName("a")), [0]), MALFORMED],
  ["two server_name", asks(serverName(hostName("a")), serverName(hostName("b"))), MALFORMED],
  ["two names", asks(serverName(hostName("a"), hostName("b"))), MALFORMED],
  ["a name of another kind", asks(serverName([1, ...vector(octets("a"))])), MALFORMED],
  ["no name in the list", asks(serverName()), MALFORMED],
  ["an empty extension, which is the server's", asks(extension(0, [])), MALFORMED],
  ["bytes after the list", asks(extension(0, [...vector(hostName("a")), 0])), MALFORMED],
  ["a list shorter than it says", asks(extension(0, [0, 9, ...hostName("a")])), MALFORMED],
  ["an empty name", clientHello(""), MALFORMED],
  ["a name too long", clientHello("a".repeat(256)), MALFORMED],
  ["a final dot", clientHello("web.example."), MALFORMED],
  ["a NUL in the name", clientHello("a\0.example"), MALFORMED],
  ["a space in the name", clientHello("a b"), MALFORMED],
  ["a name that is no ASCII", clientHello("bücher.example"), MALFORMED],
];

describe("the server name of a ClientHello", () => {
  test.each(CASES)("%s", (_, input, expected) => {
    expect(read(input)).toEqual(expected as ServerName);
    // However it is cut.
    expect(read(...Array.from(input, (octet) => bytes(octet)))).toEqual(expected as ServerName);
    for (let at = 0; at <= input.length; at++) {
      expect(read(input.subarray(0, at), input.subarray(at))).toEqual(expected as ServerName);
    }
  });

  test("in records that are cut anywhere", () => {
    const whole = message(helloBody({ extensions: [extension(43, [2, 3, 4]), serverName(hostName("web.example"))] }));
    for (let at = 1; at < whole.length; at++) {
      expect(read(records(whole, [at]))).toEqual(named("web.example"));
      expect(read(records(whole, [1, at, 1]))).toEqual(named("web.example"));
    }
    const single = records(whole, Array<number>(whole.length - 1).fill(1));
    expect(single.length).toBe(6 * whole.length);
    expect(read(single)).toEqual(named("web.example"));
  });

  test("every true prefix of a hello is undecided", () => {
    const whole = clientHello("web.example");
    for (let size = 0; size < whole.length; size++) {
      const reader = new ClientHelloReader();
      expect(reader.receive(whole.subarray(0, size))).toBeUndefined();
      const reason = size === 0 ? "no ClientHello came" : "the ClientHello is not whole";
      expect(reader.unfinished).toEqual({ kind: "unreadable", reason });
    }
  });

  test("a body of 16 KiB is read, one octet more is not", () => {
    const padded = (size: number) => {
      const name = serverName(hostName("web.example"));
      const rest = helloBody({ extensions: [name] }).length + 4;
      return message(helloBody({ extensions: [extension(21, Array<number>(size - rest).fill(0)), name] }));
    };
    const longest = padded(16_384);
    expect(longest.length).toBe(16_388);
    expect(read(records(longest, [16_384]))).toEqual(named("web.example"));
    expect(read(records(longest, Array<number>(400).fill(41)))).toEqual(named("web.example"));
    expect(read(records(padded(16_385), [16_384]))).toEqual(TOO_LONG);
  });

  test("what never ends is given up after 20 KiB", () => {
    const reader = new ClientHelloReader();
    const empty = bytes(22, 3, 1, 0, 0);
    let taken = 0;
    while (reader.receive(empty) === undefined) taken += empty.length;
    expect(taken).toBe(20_480);
    expect(reader.receive(empty)).toEqual(TOO_LONG);
  });
});

/** Marsaglia's xorshift. @returns numbers below `bound` */
function generator(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % bound;
  };
}

describe("random bytes", () => {
  test("changed hellos never throw, and are the same however they are cut", () => {
    const pick = generator(7);
    const seen = { name: 0, none: 0, unreadable: 0, undecided: 0 };
    for (let round = 0; round < 20_000; round++) {
      const input = clientHello("web.example").slice(0, pick(8) === 0 ? pick(150) : 150);
      for (let changes = pick(4); changes > 0; changes--) {
        if (input.length > 0) input[pick(input.length)] = pick(2) === 0 ? pick(256) : pick(4);
      }
      const verdict = read(input);
      seen[verdict?.kind ?? "undecided"]++;
      const at = pick(input.length + 1);
      const then = at + pick(input.length + 1 - at);
      expect(read(input.subarray(0, at), input.subarray(at, then), input.subarray(then))).toEqual(
        verdict as ServerName,
      );
    }
    for (const count of Object.values(seen)) expect(count).toBeGreaterThan(200);
  });

  test("noise is no TLS, or unreadable", () => {
    const pick = generator(11);
    for (let round = 0; round < 5_000; round++) {
      const input = Uint8Array.from({ length: 3 + pick(200) }, () => pick(256));
      if (pick(2) === 0) input.set([22, 3, 1]);
      expect(read(input)?.kind).not.toBe("name");
    }
  });
});

/** The first bytes of a program that connects to us. */
async function firstBytes(command: (port: number) => string[]): Promise<Uint8Array[]> {
  const pieces: Uint8Array[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      data(socket, chunk) {
        pieces.push(Buffer.from(chunk));
        if (read(...pieces) !== undefined) socket.terminate();
      },
      close: () => resolve(),
    },
  });
  const run = Bun.spawn(command(listener.port), { stdin: "ignore", stdout: "ignore", stderr: "ignore" });
  await promise;
  await run.exited;
  listener.stop(true);
  return pieces;
}

const s_client = (...more: string[]) => (port: number) => [
  "openssl",
  "s_client",
  "-connect",
  `127.0.0.1:${port}`,
  ...more,
];
const curl = (...more: string[]) => (port: number) => [
  "curl",
  "-sk",
  "--resolve",
  `web.example:${port}:127.0.0.1`,
  ...more,
  `https://web.example:${port}/`,
];

describe("hellos of real clients", () => {
  test.each(
    [
      ["openssl", s_client("-servername", "Web.Example"), named("web.example")],
      ["openssl, TLS 1.2", s_client("-tls1_2", "-servername", "web.example"), named("web.example")],
      ["openssl, small records", s_client("-max_send_frag", "512", "-servername", "web.example"), named("web.example")],
      ["openssl without a name", s_client("-noservername"), NONE],
      [
        "openssl, many ALPN protocols",
        s_client(
          "-servername",
          "web.example",
          "-alpn",
          Array.from({ length: 200 }, (_, i) => `protocol-number-${i}`).join(),
        ),
        named("web.example"),
      ],
      ["curl", curl(), named("web.example")],
      ["curl, TLS 1.2", curl("--tls-max", "1.2"), named("web.example")],
      ["curl to an address", (port: number) => ["curl", "-sk", `https://127.0.0.1:${port}/`], NONE],
    ] as const,
  )("%s", async (_, command, expected) => {
    const pieces = await firstBytes(command);
    expect(pieces.length).toBeGreaterThan(0);
    expect(read(...pieces)).toEqual(expected);
    const whole = Buffer.concat(pieces);
    for (let at = 0; at <= whole.length; at++) {
      expect(read(whole.subarray(0, at), whole.subarray(at))).toEqual(expected);
    }
  }, 20_000);
});
