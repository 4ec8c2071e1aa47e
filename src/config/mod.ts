/**
 * Settings and local mesh state. Parsers and validators are heavy, so nothing here loads them before a file has to be
 * read.
 */
export type * from "./config.ts";
export { loadConfig, readConfig } from "./environment.ts";
export {
  type GatewayName,
  loadWaypointConfig,
  type WaypointConfig,
  type WaypointConfigResult,
} from "./waypoint_config.ts";
export { dumpConfig, dumpWaypointConfig } from "./dump.ts";
export type {
  DocumentError,
  DocumentResult,
  DocumentWarning,
  LoadOptions,
  LocalDocument,
  LocalFile,
  LocalMembership,
} from "./local_document.ts";
export { formatDocumentError, formatPlace } from "./local_document.ts";
export type { WaypointOptions } from "../waypoint/local/options.ts";
export { PARSE_COMMAND, parseLocalFiles, parseLocalText, runParseCommand } from "./local_child.ts";
export { type LocalConsumer, LocalSource, type LocalSourceOptions } from "./local_source.ts";
