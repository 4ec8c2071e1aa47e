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
  `GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /older HTTP/1.0\r\n\r\n`,
  `GET /ws HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`,
  `GET /close HTTP/1.1\r\n${HOST}Connection: close, X-Hop\r\nX-Hop: 1\r\nX-Stay: 2\r\n\r\n`,
  `POST /z HTTP/1.1\r\n${HOST}Content-Length: 0\r\nContent-Type: text/plain\r\n\r\nGET /after HTTP/1.1\r\n${HOST}\r\n`,
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
