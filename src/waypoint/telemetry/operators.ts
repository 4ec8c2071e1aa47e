/** The operators of Envoy's substitution format strings over the facts of a stream. */
import { hostname } from "node:os";
import process from "node:process";
import { STATUS_NAMES } from "../../grpc/status.ts";
import { fieldOf, pseudoField } from "../../http/message.ts";
import type { HeaderList } from "../../http2/mod.ts";
import { formatAddress, isIpv4, type SocketAddress } from "../../net/address.ts";
import type { Flag, StreamInfo } from "../stream_info.ts";
import { compileExpression } from "./cel/mod.ts";
import { FILTER_STATE, HIDDEN_STATE } from "./filter_state.ts";
import { FormatError, type OperatorCall } from "./format_syntax.ts";
import { CAMEL_NAMES, grpcStatusOf, isGrpcRequest } from "./grpc_status.ts";
import { octetsToText } from "./octets.ts";
import { compileTimeFormat } from "./time_format.ts";

/** A value with its JSON type; null: there is none. */
export type FormatValue = string | number | boolean | null | readonly unknown[] | { readonly [key: string]: unknown };

/** An operator made ready. */
export interface Operator {
  readonly evaluate: (info: StreamInfo) => FormatValue;
  /** Instead of `evaluate` where it is all of a JSON value. */
  readonly typed?: (info: StreamInfo) => FormatValue;
  /** Strings are octets of a header, not text. */
  readonly octets: boolean;
}

type Evaluate = Operator["evaluate"];

/** How an operator is written and what it becomes. */
interface Definition {
  readonly argument: "none" | "optional" | "required";
  /** Whether `:length` may follow. */
  readonly length: boolean;
  readonly octets?: boolean;
  /** Throws FormatError when the argument is not understood. `argument` is empty when there is none. */
  readonly make: (argument: string, length: number | undefined) => Evaluate;
}

function plain(evaluate: Evaluate): Definition {
  return { argument: "none", length: false, make: () => evaluate };
}

function textOrNull(text: string | undefined): string | null {
  return text === undefined || text === "" ? null : text;
}

function cut(text: string | null, length: number | undefined): string | null {
  return text === null || length === undefined || text.length <= length ? text : text.slice(0, length);
}

const SPACE = /\s/g;

function withoutSpaces(text: string): string | null {
  return textOrNull(text.includes(" ") || text.includes("\n") ? text.replace(SPACE, "_") : text);
}

/** Whole ms between two instants of performance.now(); null when one of them has not come. */
function elapsed(from: number, to: number): number | null {
  return from === 0 || to === 0 ? null : Math.max(0, Math.floor(to - from));
}

// ---- header fields

/** The value of a request's field, pseudo-fields included. */
function requestField(info: StreamInfo, name: string): string | undefined {
  const head = info.request;
  if (head === undefined) return undefined;
  if (name === ":protocol") return head.protocol === "HTTP/2" ? head.upgrade : undefined;
  return pseudoField(head, name) ?? fieldOf(head.fields, name);
}

function responseField(info: StreamInfo, name: string): string | undefined {
  if (name === ":status") return info.responseCode === 0 ? undefined : String(info.responseCode);
  return info.response && fieldOf(info.response.fields, name);
}

function fieldIn(fields: HeaderList | undefined, name: string): string | undefined {
  return fields && fieldOf(fields, name);
}

type FieldReader = (info: StreamInfo, name: string) => string | undefined;

/** `NAME` or `NAME?ALTERNATIVE`; names in any case. */
function headerNames(argument: string): [string, string | undefined] {
  const names = argument.toLowerCase().split("?");
  if (names.length > 2) throw new FormatError(`more than one alternative in "${argument}"`);
  for (const name of names) {
    if (!/^:?[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name)) throw new FormatError(`"${name}" is no header name`);
  }
  return [names[0] as string, names[1]];
}

function header(read: FieldReader, change?: (value: string) => string): Definition {
  return {
    argument: "required",
    length: true,
    octets: true,
    make: (argument, length) => {
      const [name, alternative] = headerNames(argument);
      return (info) => {
        const value = read(info, name) ?? (alternative === undefined ? undefined : read(info, alternative));
        if (value === undefined) return null;
        return cut(change === undefined ? value : change(value), length);
      };
    },
  };
}

function beforeQuery(path: string): string {
  const query = path.indexOf("?");
  return query < 0 ? path : path.slice(0, query);
}

// ---- addresses

function host(address: SocketAddress): string {
  return isIpv4(address.ip) ? address.ip : `[${address.ip}]`;
}

/** `ip:port` in its two parts; a text without a port is all host. */
function hostOf(address: string): string {
  const colon = address.lastIndexOf(":");
  return colon < 0 ? address : address.slice(0, colon);
}

function portOf(address: string): number | null {
  const port = Number(address.slice(address.lastIndexOf(":") + 1));
  return address.includes(":") && Number.isInteger(port) ? port : null;
}

function upstreamAddress(info: StreamInfo): string {
  return info.upstreamAddress !== "" ? info.upstreamAddress : info.endpoint?.address ?? "";
}

/** HBONE endpoints are an internal address there: the listener that originates CONNECT. */
function upstreamHost(info: StreamInfo): string | null {
  const address = upstreamAddress(info);
  if (address === "") return null;
  const kind = info.endpoint?.kind;
  return kind === "hbone" || kind === "double-hbone" ? `envoy://connect_originate/${address}` : address;
}

/** ADDRESS, ADDRESS_WITHOUT_PORT and PORT of a side. */
function addresses(prefix: string, of: (info: StreamInfo) => SocketAddress): [string, Definition][] {
  return [
    [`${prefix}_ADDRESS`, plain((info) => formatAddress(of(info)))],
    [`${prefix}_ADDRESS_WITHOUT_PORT`, plain((info) => host(of(info)))],
    [`${prefix}_PORT`, plain((info) => of(info).port)],
  ];
}

function upstreamAddresses(prefix: string, of: (info: StreamInfo) => string): [string, Definition][] {
  return [
    [`${prefix}_ADDRESS`, plain((info) => textOrNull(of(info)))],
    [`${prefix}_ADDRESS_WITHOUT_PORT`, plain((info) => textOrNull(hostOf(of(info))))],
    [`${prefix}_PORT`, plain((info) => portOf(of(info)))],
  ];
}

// ---- flags, gRPC, trace

const LONG_FLAGS: Readonly<Record<Flag, string>> = {
  NR: "NoRouteFound",
  NC: "NoClusterFound",
  UH: "NoHealthyUpstream",
  UF: "UpstreamConnectionFailure",
  UO: "UpstreamOverflow",
  UT: "UpstreamRequestTimeout",
  UC: "UpstreamConnectionTermination",
  UR: "UpstreamRemoteReset",
  LR: "LocalReset",
  RL: "RateLimited",
  URX: "UpstreamRetryLimitExceeded",
  DC: "DownstreamConnectionTermination",
  UAEX: "UnauthorizedExternalService",
  DPE: "DownstreamProtocolError",
  UPE: "UpstreamProtocolError",
  DI: "DelayInjected",
  FI: "FaultInjected",
  SI: "StreamIdleTimeout",
  OM: "OverloadManagerTerminated",
  DT: "DurationTimeout",
  UMSDR: "UpstreamMaxStreamDurationReached",
  IH: "InvalidEnvoyRequestHeaders",
};

function grpcStatus(form: string): Evaluate {
  if (form !== "" && form !== "CAMEL_STRING" && form !== "SNAKE_STRING" && form !== "NUMBER") {
    throw new FormatError(`"${form}" is none of CAMEL_STRING, SNAKE_STRING, NUMBER`);
  }
  const names = form === "SNAKE_STRING" ? STATUS_NAMES : CAMEL_NAMES;
  return (info) => {
    if (!isGrpcRequest(info.request)) return null;
    const status = grpcStatusOf(info);
    if (status === undefined) return null;
    return form === "NUMBER" ? status : names[status] ?? String(status);
  };
}

/** The trace of W3C's `traceparent`, which passes through untouched. */
function traceId(info: StreamInfo): string | null {
  const parent = info.request && fieldOf(info.request.fields, "traceparent");
  return parent !== undefined && parent.length >= 55 && parent[2] === "-" && parent[35] === "-"
    ? parent.slice(3, 35)
    : null;
}

// ---- filter state and metadata

function filterState(argument: string, length: number | undefined): Evaluate {
  const [key = "", form = "TYPED", ...rest] = argument.split(":");
  if (key === "") throw new FormatError("the key is missing");
  if (HIDDEN_STATE.has(key)) throw new FormatError(`filter state "${key}" is not supported`);
  if (rest.length > 0 || (form !== "PLAIN" && form !== "TYPED")) {
    throw new FormatError(`"${argument}" does not end with :PLAIN or :TYPED`);
  }
  const evaluate = FILTER_STATE.get(key);
  return (info) => evaluate === undefined ? null : cut(textOrNull(evaluate(info)), length);
}

function dynamicMetadata(argument: string, length: number | undefined): Evaluate {
  const [namespace = "", ...keys] = argument.split(":");
  if (namespace === "") throw new FormatError("the namespace is missing");
  return (info) => {
    let value: unknown = info.metadata?.get(namespace);
    for (const key of keys) {
      if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
      value = Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined;
    }
    if (value === undefined) return null;
    return typeof value === "string" ? cut(value, length) : value as FormatValue;
  };
}

// ---- the table

/** Read once. A variable that is not set is `-` even where other values would be missing, as there. */
function environment(argument: string, length: number | undefined): Evaluate {
  const value = cut(process.env[argument] || "-", length);
  return () => value;
}

const NEVER: Definition = plain(() => null);

const TABLE: ReadonlyMap<string, Definition> = new Map<string, Definition>([
  ["START_TIME", {
    argument: "optional",
    length: false,
    make: (argument) => {
      const format = compileTimeFormat(argument);
      return (info) => format(info.startTime);
    },
  }],
  ["REQ", header(requestField)],
  ["REQ_WITHOUT_QUERY", header(requestField, beforeQuery)],
  ["RESP", header(responseField)],
  ["TRAILER", header((info, name) => fieldIn(info.responseTrailers, name))],
  ["PROTOCOL", plain((info) => info.request === undefined ? null : info.request.protocol)],
  ["RESPONSE_CODE", plain((info) => info.responseCode)],
  ["RESPONSE_CODE_DETAILS", {
    argument: "optional",
    length: false,
    make: (argument) => {
      if (argument !== "" && argument !== "ALLOW_WHITESPACES") {
        throw new FormatError(`"${argument}" is not ALLOW_WHITESPACES`);
      }
      return argument === ""
        ? (info) => withoutSpaces(info.responseCodeDetails)
        : (info) => textOrNull(info.responseCodeDetails);
    },
  }],
  ["RESPONSE_FLAGS", plain((info) => info.flagText)],
  [
    "RESPONSE_FLAGS_LONG",
    plain((info) => info.flags.length === 0 ? "-" : info.flags.map((flag) => LONG_FLAGS[flag]).join(",")),
  ],
  ["CONNECTION_TERMINATION_DETAILS", plain((info) => textOrNull(info.connectionTerminationDetails))],
  ["UPSTREAM_TRANSPORT_FAILURE_REASON", plain((info) => withoutSpaces(info.upstreamFailure))],
  ["DOWNSTREAM_TRANSPORT_FAILURE_REASON", NEVER],
  ["BYTES_RECEIVED", plain((info) => info.bytesReceived)],
  ["BYTES_SENT", plain((info) => info.bytesSent)],
  ["DURATION", plain((info) => elapsed(info.startedAt, info.endedAt === 0 ? performance.now() : info.endedAt))],
  ["REQUEST_DURATION", plain((info) => elapsed(info.startedAt, info.requestReceivedAt))],
  ["RESPONSE_DURATION", plain((info) => elapsed(info.startedAt, info.responseFirstByteAt))],
  ["RESPONSE_TX_DURATION", plain((info) => elapsed(info.responseFirstByteAt, info.endedAt))],
  ["UPSTREAM_HOST", plain(upstreamHost)],
  ["UPSTREAM_CLUSTER", plain((info) => textOrNull(info.clusterName))],
  ["UPSTREAM_CLUSTER_RAW", plain((info) => textOrNull(info.clusterName))],
  ["UPSTREAM_REQUEST_ATTEMPT_COUNT", plain((info) => info.attempts)],
  ...upstreamAddresses("UPSTREAM_REMOTE", upstreamAddress),
  ...upstreamAddresses("UPSTREAM_LOCAL", (info) => info.upstreamLocalAddress),
  ...addresses("DOWNSTREAM_LOCAL", (info) => info.downstream.local),
  ...addresses("DOWNSTREAM_REMOTE", (info) => info.downstream.remote),
  ...addresses("DOWNSTREAM_DIRECT_REMOTE", (info) => info.downstream.remote),
  // The connection inside the tunnel has no TLS of its own there; here these are the tunnel's.
  ["DOWNSTREAM_PEER_URI_SAN", plain((info) => textOrNull(info.downstream.peerPrincipal))],
  ["DOWNSTREAM_LOCAL_URI_SAN", plain((info) => textOrNull(info.downstream.localPrincipal))],
  ["REQUESTED_SERVER_NAME", plain((info) => textOrNull(info.downstream.requestedServerName))],
  ["ROUTE_NAME", plain((info) => textOrNull(info.routeName))],
  ["VIRTUAL_CLUSTER_NAME", NEVER],
  ["TRACE_ID", plain(traceId)],
  ["GRPC_STATUS", { argument: "optional", length: false, make: grpcStatus }],
  ["GRPC_STATUS_NUMBER", plain(grpcStatus("NUMBER"))],
  ["HOSTNAME", {
    argument: "none",
    length: false,
    make: () => {
      const name = textOrNull(hostname());
      return () => name;
    },
  }],
  ["ENVIRONMENT", { argument: "required", length: true, make: environment }],
  ["FILTER_STATE", { argument: "required", length: true, make: filterState }],
  ["DYNAMIC_METADATA", { argument: "required", length: true, make: dynamicMetadata }],
]);

// ---- what combines operators

function coalesce(call: OperatorCall): Operator {
  let settings: unknown;
  try {
    settings = JSON.parse(call.argument ?? "");
  } catch {
    throw new FormatError("the argument is no JSON");
  }
  const entries = typeof settings === "object" && settings !== null && "operators" in settings
    ? settings.operators
    : undefined;
  if (!Array.isArray(entries) || entries.length === 0) throw new FormatError('"operators" is no list with entries');
  const operators = entries.map((entry, index) => compileOperator(entryCall(entry, index, call.position)));
  const octets = operators.every((operator) => operator.octets);
  return {
    octets,
    evaluate: (info) => {
      for (const operator of operators) {
        const value = operator.evaluate(info);
        if (value === null || value === "") continue;
        if (typeof value !== "string") return value;
        return cut(operator.octets && !octets ? octetsToText(value) : value, call.length);
      }
      return null;
    },
  };
}

/** `"COMMAND"` or `{"command": …, "param": …, "max_length": …}`. */
function entryCall(entry: unknown, index: number, position: number): OperatorCall {
  if (typeof entry === "string") return { name: entry, argument: undefined, length: undefined, position };
  const fields = typeof entry === "object" && entry !== null ? entry as Record<string, unknown> : {};
  const { command, param, max_length: length } = fields;
  if (typeof command !== "string") throw new FormatError(`operators[${index}] has no "command"`);
  if (param !== undefined && typeof param !== "string") throw new FormatError(`operators[${index}].param is no string`);
  if (length !== undefined && !(typeof length === "number" && Number.isInteger(length) && length > 0)) {
    throw new FormatError(`operators[${index}].max_length is no positive integer`);
  }
  return { name: command, argument: param, length, position };
}

/** CEL gives texts; TYPED_CEL the same, but values with their types in JSON. Where nothing comes out there is no value. */
function cel(call: OperatorCall): Operator {
  if (!call.argument) throw new FormatError("it needs an argument");
  const compiled = compileExpression(call.argument);
  if (!compiled.ok) throw new FormatError(compiled.error);
  const expression = compiled.format;
  const evaluate: Evaluate = (info) => cut(expression.text(info) ?? null, call.length);
  if (call.name === "CEL") return { octets: false, evaluate };
  return {
    octets: false,
    evaluate,
    typed: (info) => {
      const value = expression.json(info);
      return typeof value === "string" ? cut(value, call.length) : value;
    },
  };
}

/** Makes an operator ready. Throws FormatError that names the operator and its place. */
export function compileOperator(call: OperatorCall): Operator {
  const { name, position } = call;
  const where = `%${name}${call.argument === undefined ? "" : `(${call.argument})`}% at character ${position}`;
  try {
    if (name === "COALESCE") return coalesce(call);
    if (name === "CEL" || name === "TYPED_CEL") return cel(call);
    const definition = TABLE.get(name);
    if (definition === undefined) throw new FormatError("unknown operator");
    const argument = call.argument ?? "";
    if (definition.argument === "none" && argument !== "") throw new FormatError("it takes no argument");
    if (definition.argument === "required" && argument === "") {
      throw new FormatError("it needs an argument");
    }
    if (!definition.length && call.length !== undefined) throw new FormatError("it takes no length");
    return { evaluate: definition.make(argument, call.length), octets: definition.octets ?? false };
  } catch (error) {
    if (error instanceof FormatError) throw new FormatError(`${where}: ${error.message}`);
    throw error;
  }
}
