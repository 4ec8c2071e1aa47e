/** Messages that between them use all of the grammar: what is split, mutated and compared starts from them. */
const HOST = "Host: example.com\r\n";

export const REQUESTS: readonly string[] = [
  `GET / HTTP/1.1\r\n${HOST}\r\n`,
  `\r\nGET /a?b=c HTTP/1.1\r\n${HOST}Accept: */*\r\nConnection: keep-alive\r\n\r\n`,
  `GET http://example.com:81/x HTTP/1.1\r\n${HOST}User-Agent: x/1 (y; z)\r\n\r\n`,
  `OPTIONS * HTTP/1.1\r\n${HOST}\r\n`,
  `HEAD /h HTTP/1.1\r\nhost:\t[::1]:80 \r\nX-Empty:\r\nX-Obs: \xe4\xf6\r\n\r\n`,
  `POST /p HTTP/1.1\r\n${HOST}Content-Length: 11\r\nExpect: 100-continue\r\n\r\nhello\r\n\r\nyo`,
  `PUT /c HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\nTE: trailers\r\nConnection: TE\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
  `PATCH /t HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n` +
  `3;ext=1;q="a;b"\r\nabc\r\n0B\r\nhello world\r\n0\r\nX-Sum: 7\r\nHost: late\r\n\r\n`,
  `GET /1 HTTP/1.1\r\n${HOST}\r\nDELETE /2 HTTP/1.1\r\n${HOST}\r\nPOST /3 HTTP/1.1\r\n${HOST}Content-Length: 2\r\n\r\nab`,
  `GET /old HTTP/1.0\r\nHost: example.com\r\nConnection: keep-alive\r\n\r\nGET /older HTTP/1.0\r\nHost: example.com\r\n\r\n`,
  `GET /ws HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`,
  `GET /close HTTP/1.1\r\n${HOST}Connection: close, X-Hop\r\nX-Hop: 1\r\nX-Stay: 2\r\n\r\n`,
  `POST /z HTTP/1.1\r\n${HOST}Content-Length: 0\r\nContent-Type: text/plain\r\n\r\nGET /after HTTP/1.1\r\n${HOST}\r\n`,
];

const CHUNKS = `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`;

/** Single requests at the edges of the grammar, good and bad. */
export const EDGES: readonly string[] = [
  ...["M-SEARCH", "MSEARCH", "QUERY", "PRI", "SOURCE", "BREW", "G\x45T", "CONNECT"].map((method) =>
    `${method} * HTTP/1.1\r\n${HOST}\r\n`
  ),
  ...[
    "*",
    "/",
    "//",
    "/a b",
    "http://h",
    "HTTP://h?x",
    "ws://h/",
    "http://",
    "http:/h",
    "http://u:p@h/",
    "h:80",
    "?x",
    "",
  ]
    .flatMap((target) => ["GET", "OPTIONS", "CONNECT"].map((method) => `${method} ${target} HTTP/1.1\r\n${HOST}\r\n`)),
  ...["a:1", "[::1]:1", "a:", "a", ":1", "a:65536"].map((target) => `CONNECT ${target} HTTP/1.1\r\n${HOST}\r\nraw`),
  ...["0.9", "1.0", "1.1", "1.2", "2.0", "3.0", "1", "1.1.1", "01.1", "1.01", "\t1.1"].map((version) =>
    `GET / HTTP/${version}\r\n${HOST}\r\n`
  ),
  ...[
    "5;",
    "5;;a",
    "5;a",
    "5; a",
    "5 ;a",
    "5;a=",
    "5;a=b",
    '5;a="b;\\""',
    '5;a="b',
    "5\t",
    " 5",
    "05",
    "0x5",
    "5h",
    "+5",
    "ffffffffffffffff",
    "",
    ";a",
  ]
    .map((size) => `${CHUNKS}${size}\r\nhello\r\n0\r\n\r\n`),
  ...["\n", "\r", "\r\r\n", "\n\r", "", "x\r\n"].flatMap((end) => [
    `${CHUNKS}5${end}hello\r\n0\r\n\r\n`,
    `${CHUNKS}5\r\nhello${end}0\r\n\r\n`,
    `${CHUNKS}5\r\nhello\r\n0${end}\r\n`,
    `${CHUNKS}5\r\nhello\r\n0\r\n${end}`,
    `${CHUNKS}0\r\nA: b${end}\r\n`,
    `GET / HTTP/1.1${end}${HOST}\r\n`,
    `GET / HTTP/1.1\r\n${HOST}a: b${end}\r\n`,
  ]),
  ...[
    "5",
    "05",
    "5 ",
    "5\t",
    " 5",
    "+5",
    "-5",
    "5,5",
    "5 5",
    "0x5",
    "",
    "5.0",
    "1e1",
    "9999999999999999999999",
    "\x0b5",
  ].map((
    length,
  ) => `POST / HTTP/1.1\r\n${HOST}Content-Length:${length}\r\n\r\nhello`),
  ...[
    "chunked",
    "Chunked",
    "CHUNKED",
    "chunked ",
    "chunked\t",
    "chunked,",
    ",chunked",
    "gzip",
    "gzip, chunked",
    "chunked, chunked",
    "chunked;q=1",
    "x",
    "",
  ]
    .flatMap((coding) =>
      ["1.0", "1.1"].map((version) =>
        `POST / HTTP/${version}\r\n${HOST}Transfer-Encoding: ${coding}\r\n\r\n5\r\nhello\r\n0\r\n\r\n`
      )
    ),
  ...[
    "close",
    "Close",
    "keep-alive",
    "Keep-Alive",
    "close, keep-alive",
    "keep-alive,close",
    " ,close,",
    "x, close",
    "closed",
    "upgrade",
  ]
    .flatMap((option) =>
      ["1.0", "1.1"].map((version) =>
        `GET / HTTP/${version}\r\n${HOST}Connection: ${option}\r\n\r\nGET /2 HTTP/1.1\r\n${HOST}\r\n`
      )
    ),
  ...Array.from({ length: 256 }, (_, code) => String.fromCharCode(code)).flatMap((octet) => [
    `GET /${octet} HTTP/1.1\r\n${HOST}\r\n`,
    `GET / HTTP/1.1\r\n${HOST}a${octet}b: c\r\n\r\n`,
    `GET / HTTP/1.1\r\n${HOST}a: b${octet}c\r\n\r\n`,
    `GE${octet}T / HTTP/1.1\r\n${HOST}\r\n`,
    `GET /${octet}HTTP/1.1\r\n${HOST}\r\n`,
    `${octet}GET / HTTP/1.1\r\n${HOST}\r\n`,
  ]),
];

export const RESPONSES: readonly string[] = [
  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
  "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a\r\nhi\r\n0\r\nX-T: 1\r\n\r\n",
  "HTTP/1.1 204\r\nX: y\r\n\r\n",
  'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 7\r\n\r\n',
  "HTTP/1.0 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\nto the end",
  "HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nraw",
];
