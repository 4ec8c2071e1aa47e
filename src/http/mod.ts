/** HTTP over any byte stream: messages and exchanges as the router sees them, whatever version carries them. */
export * from "./message.ts";
export type * from "./exchange.ts";
export { dateField } from "./http_date.ts";
export * from "./connection.ts";
export { http2Client } from "./http2_client.ts";
export { serveHttp2 } from "./http2_server.ts";
export { http1Client } from "./http1_client.ts";
export { serveHttp1 } from "./http1_server.ts";
export { ProtocolSniffer, type SnifferOptions } from "./sniffer.ts";
