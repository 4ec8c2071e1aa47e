import type { Random } from "../http2/random.ts";

/** Pieces that parsers have disagreed about. */
const FRAGMENTS: readonly string[] = [
  ...'\r\n|\n|\r|\r\n\r\n|\n\n|\r\r\n| |  |\t|\0|\x0b|\x7f|\x80|\xff|:| :|: |;|,|=|"|\\|0|1|5|a|f|G|/|?|#|@|*|%00'
    .split("|"),
  "Content-Length: 3\r\n",
  "Content-Length: 5\r\n",
  "content-length:+3\r\n",
  "Content-Length: 3, 3\r\n",
  "Content_Length: 3\r\n",
  "Content-Length : 3\r\n",
  "Transfer-Encoding: chunked\r\n",
  "Transfer-Encoding: gzip, chunked\r\n",
  "Transfer-Encoding: chunked, gzip\r\n",
  "Transfer-Encoding: identity\r\n",
  "Transfer-Encoding:\tchunked \r\n",
  "Transfer-Encoding\r\n: chunked\r\n",
  "Host: other\r\n",
  "Host: a b\r\n",
  "Host:\r\n",
  "Connection: close\r\n",
  "Connection: upgrade\r\nUpgrade: foo\r\n",
  " folded\r\n",
  "X: y\r\n z\r\n",
  "X:\r\n",
  ": x\r\n",
  "X\r\n",
  "HTTP/1.1",
  "HTTP/1.0",
  "HTTP/2.0",
  "http/1.1",
  "GET ",
  "BREW ",
  "http://h/",
  "0\r\n\r\n",
  "5\r\nhello\r\n",
  "0x5\r\nhello\r\n",
  "5;a=b\r\nhello\r\n",
  "5 \r\nhello\r\n",
  "ffffffffffffffff\r\n",
  "GET /smuggled HTTP/1.1\r\nHost: b\r\n\r\n",
];

/** One to three small changes of a message. */
export function mutate(random: Random, sample: string, samples: readonly string[]): string {
  let text = sample;
  for (let left = 1 + random.below(3); left > 0; left--) {
    const at = random.below(text.length + 1);
    const length = 1 + random.below(random.chance(70) ? 2 : 20);
    switch (random.below(8)) {
      case 0:
        text = text.slice(0, at) + text.slice(at + length);
        break;
      case 1:
      case 2:
        text = text.slice(0, at) + random.pick(FRAGMENTS) + text.slice(at);
        break;
      case 3: {
        // At the start of a line, where fragments that are lines make sense.
        const line = text.indexOf("\n", at) + 1;
        text = text.slice(0, line) + random.pick(FRAGMENTS) + text.slice(line);
        break;
      }
      case 4:
        text = text.slice(0, at) + random.pick(FRAGMENTS) + text.slice(at + length);
        break;
      case 5:
        text = text.slice(0, at) + String.fromCharCode(random.below(256)) + text.slice(at + 1);
        break;
      case 6:
        text = text.slice(0, at) + text.slice(at, at + length) + text.slice(at);
        break;
      case 7:
        text = random.chance(50) ? text + random.pick(samples) : text.slice(0, at) + text.slice(at).toUpperCase();
        break;
    }
  }
  return text;
}
