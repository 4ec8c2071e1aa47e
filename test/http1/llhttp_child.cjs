// Runs in Node: reads a JSON array of requests in base64 from standard input, feeds each to Node's own parser (llhttp),
// and writes what it told. Bun's node:http is another parser, which is why this is a child process.
"use strict";
const { HTTPParser, allMethods, methods } = process.binding("http_parser");

const names = allMethods ?? methods;

function pairs(flat) {
  const list = [];
  for (let i = 0; i < flat.length; i += 2) list.push([flat[i], flat[i + 1]]);
  return list;
}

function read(bytes) {
  const messages = [];
  let early = []; // fields that came before the end of a head, when there are many
  let url = "";
  const parser = new HTTPParser();
  parser.initialize(HTTPParser.REQUEST, {}, 1 << 20, 0);
  parser[HTTPParser.kOnMessageBegin | 0] = () => {
    early = [];
    url = "";
  };
  parser[HTTPParser.kOnHeaders | 0] = (fields, path) => {
    const last = messages.at(-1);
    if (last !== undefined && !last.complete) last.trailers.push(...pairs(fields));
    else early.push(...pairs(fields));
    url += path;
  };
  parser[HTTPParser.kOnHeadersComplete | 0] = (
    major,
    minor,
    fields,
    method,
    path,
    _code,
    _text,
    upgrade,
    keepAlive,
  ) => {
    const all = fields === undefined ? early : [...early, ...pairs(fields)];
    messages.push({
      version: `${major}.${minor}`,
      method: names[method],
      target: url + (path ?? ""),
      fields: all,
      trailers: [],
      content: "",
      upgrade: upgrade === true,
      keepAlive: keepAlive === true,
      complete: false,
    });
    return 0;
  };
  parser[HTTPParser.kOnBody | 0] = (chunk, offset, length) => {
    const piece = offset === undefined ? chunk : chunk.subarray(offset, offset + length);
    messages.at(-1).content += piece.toString("latin1");
  };
  parser[HTTPParser.kOnMessageComplete | 0] = () => {
    messages.at(-1).complete = true;
  };
  const result = parser.execute(bytes);
  return {
    messages,
    error: result instanceof Error ? result.code : "",
    reason: result instanceof Error ? result.reason : "",
  };
}

const chunks = [];
process.stdin.on("data", (chunk) => chunks.push(chunk));
process.stdin.on("end", () => {
  const inputs = JSON.parse(Buffer.concat(chunks).toString());
  process.stdout.write(JSON.stringify({
    version: process.versions.llhttp,
    results: inputs.map((input) => read(Buffer.from(input, "base64"))),
  }));
});
