/**
 * What the control handle (in a test's process) and the program (a child process, in Node) tell each other: one JSON
 * document a line, commands on the program's stdin, answers and events on its stdout. Bytes are base64.
 */

export const ADDRESS_TYPE = "type.googleapis.com/istio.workload.Address";
export const WORKLOAD_TYPE = "type.googleapis.com/istio.workload.Workload";
export const AUTHORIZATION_TYPE = "type.googleapis.com/istio.security.Authorization";

/** Of the server's certificate, without other settings. */
export const SERVER_NAMES: readonly string[] = [
  "istiod.istio-system.svc",
  "istiod.istio-system.svc.cluster.local",
  "localhost",
  "127.0.0.1",
];

/** One resource as it goes over the wire. */
export interface ResourceText {
  readonly typeUrl: string;
  readonly name: string;
  /** Absent: a hash of the value for addresses, nothing for all others, as istiod does. */
  readonly version?: string;
  /** Serialised message, base64. */
  readonly value: string;
  /** The type that the Any names, where it is another than the push's: a resource worth a NACK. */
  readonly anyTypeUrl?: string;
}

/** Size of a made-up mesh. The same plan always gives the same resources. */
export interface MeshSize {
  readonly workloads: number;
  /** Workload i is an endpoint of service i % services. Default: one service for 10 workloads. */
  readonly services?: number;
  /** Default 0. */
  readonly policies?: number;
  /** Names of the nodes the workloads are spread over. Default: 100 names of its own. */
  readonly nodes?: readonly string[];
  /** Spread over namespaces `PREFIX-N`; a second mesh with another prefix stands beside the first. Default "load". */
  readonly prefix?: string;
  readonly namespaces?: number;
  /** Other text gives every workload another version: a push that changes all of them. */
  readonly revision?: string;
}

/** A root with its intermediate, by the order of their making. 0 is the first. */
export type Generation = number;

/** How the certificate authority behaves. */
export interface CaSettings {
  /** Whose intermediate signs. */
  readonly issuer: Generation;
  /** The roots that are handed out with a chain, in this order, in one element. */
  readonly roots: readonly Generation[];
  /** "full": leaf, intermediate, roots. "leaf": one element, which has no root. "without intermediate": signed by the root. */
  readonly chain: "full" | "leaf" | "empty" | "without intermediate" | "garbage";
  /** Another lifetime than the one asked for, seconds. */
  readonly ttlSeconds: number | undefined;
  /** How long before now a certificate begins, seconds; istiod: 120. */
  readonly backdateSeconds: number;
  /** Moves both ends of a certificate's validity, seconds; negative beyond its lifetime: expired already. */
  readonly shiftSeconds: number;
  /** Longest lifetime that is granted, seconds; longer: INVALID_ARGUMENT. */
  readonly maxTtlSeconds: number;
  /** URI SAN instead of the identity that was asked for. */
  readonly identity: string | undefined;
  /** The certificate is for a key that nobody has. */
  readonly foreignKey: boolean;
  /** Answers come that much later, milliseconds. */
  readonly delayMs: number;
  /** No answers at all; the calls stay open. */
  readonly silent: boolean;
  /** Every call ends with this status. */
  readonly refuse: StatusText | undefined;
  /** Only so many calls from now on end with `refuse`; undefined: all. */
  readonly refusals: number | undefined;
  /** Identities that nobody may impersonate: UNAUTHENTICATED. */
  readonly forbidden: readonly string[];
}

export interface StatusText {
  /** gRPC status code. */
  readonly code: number;
  readonly message: string;
}

/** How discovery behaves. */
export interface DiscoverySettings {
  /** Each response goes out that much later, milliseconds. */
  readonly delayMs: number;
  /** Requests are taken, and never answered. */
  readonly silent: boolean;
  /** New streams end with this status, at once. */
  readonly refuse: StatusText | undefined;
  /** Instead of gRPC: this HTTP status, with a page. */
  readonly httpStatus: number | undefined;
  /** Response messages go out in pieces of this size, one each millisecond: chopped anywhere. Undefined: whole. */
  readonly pieceBytes: number | undefined;
  /** Larger requests end the stream, RESOURCE_EXHAUSTED; istiod: 4 MiB (ISTIO_GPRC_MAXRECVMSGSIZE). */
  readonly maxRequestBytes: number;
}

/** How the port behaves. */
export interface PortSettings {
  /**
   * "refuse": nobody listens, running connections go on. "reset": new connections are accepted and reset. "black hole":
   * new connections are accepted, and never a byte comes. "stall": as that, and running connections too, both ways.
   */
  readonly connections: "accept" | "refuse" | "reset" | "black hole" | "stall";
  /** DNS names and IP addresses of the server's certificate, for connections from now on. */
  readonly serverNames: readonly string[];
  readonly serverIssuer: Generation;
  /** The server's certificate has run out. */
  readonly serverExpired: boolean;
  /** Tokens that are good; undefined: any but the empty one. */
  readonly tokens: readonly Token[] | undefined;
  /** Every token is refused: UNAUTHENTICATED. */
  readonly refuseTokens: boolean;
  /** What `clusterid` has to be; undefined: anything. */
  readonly clusterId: string | undefined;
}

export interface Token {
  readonly token: string;
  /** Identity of certificates for calls without ImpersonatedIdentity. Default: a ztunnel's own. */
  readonly identity?: string;
  /** Whether it may ask for others' certificates, as ztunnel's may. Default true. */
  readonly impersonates?: boolean;
}

/** How running streams or connections are broken. */
export type Break =
  /** Trailers with a status; istiod ends with 0 and no message at its maximal age of a connection. */
  | { readonly how: "status"; readonly code: number; readonly message: string }
  /** RST_STREAM with an HTTP/2 error code. */
  | { readonly how: "reset stream"; readonly code: number }
  /** GOAWAY, streams go on; with `end` the connection is closed after it. */
  | { readonly how: "goaway"; readonly code: number; readonly end: boolean }
  | { readonly how: "tcp reset" }
  | { readonly how: "tcp end" }
  /** A response of which the last half never comes, then a TCP reset. */
  | { readonly how: "half a message" };

/** A certificate for a test's own peers, from the mesh's authority. */
export interface LeafPlan {
  readonly identity: string;
  readonly ttlSeconds?: number;
  readonly shiftSeconds?: number;
  readonly issuer?: Generation;
}

export interface IssuedLeaf {
  /** PKCS#8, PEM. */
  readonly key: string;
  /** Leaf and intermediate, PEM. */
  readonly chain: string;
  /** Its own root, PEM. */
  readonly roots: string;
  /** Hex, lower case. */
  readonly serial: string;
}

export interface Revocation {
  /** Leaves, by serial number or by identity (all of it that were issued up to now). */
  readonly serials?: readonly string[];
  readonly identities?: readonly string[];
  /** The intermediate of a generation, by its root. */
  readonly intermediates?: readonly Generation[];
}

/** What a push sent, to whom. */
export interface PushSent {
  /** system_version_info */
  readonly version: string;
  readonly sent: readonly { readonly stream: number; readonly typeUrl: string; readonly nonce: string }[];
}

/** Settings of the program at its start. */
export interface ProgramOptions {
  readonly address: string;
  readonly port: number;
  readonly trustDomain: string;
  readonly portSettings: Partial<PortSettings>;
  readonly ca: Partial<CaSettings>;
  readonly discovery: Partial<DiscoverySettings>;
  /** Scratch directory: unix socket, saved state, roots. */
  readonly directory: string;
  /** Connections and streams are numbered after this one. */
  readonly lastNumber: number;
  /** Whether there is a state to begin with in the directory. */
  readonly resume: boolean;
}

export type Command =
  | {
    readonly verb: "put";
    readonly resources: readonly ResourceText[];
    readonly removed: Readonly<Record<string, readonly string[]>>;
  }
  | { readonly verb: "generate"; readonly mesh: MeshSize }
  | { readonly verb: "clear" }
  | { readonly verb: "resources"; readonly typeUrl: string }
  | { readonly verb: "push all" }
  | { readonly verb: "push large"; readonly typeUrl: string; readonly bytes: number }
  | { readonly verb: "ca"; readonly settings: Partial<CaSettings> }
  | { readonly verb: "discovery"; readonly settings: Partial<DiscoverySettings> }
  | { readonly verb: "port"; readonly settings: Partial<PortSettings> }
  | { readonly verb: "break"; readonly how: Break; readonly streams: readonly number[] | undefined }
  | { readonly verb: "new root" }
  | { readonly verb: "roots"; readonly generations: readonly Generation[] | undefined }
  | { readonly verb: "issue"; readonly plan: LeafPlan }
  | { readonly verb: "revoke"; readonly revocation: Revocation }
  | { readonly verb: "save" }
  | { readonly verb: "status" };

export interface Status {
  readonly connections: number;
  /** Streams of discovery. */
  readonly streams: readonly { readonly stream: number; readonly node: string; readonly typeUrls: readonly string[] }[];
  readonly resources: Readonly<Record<string, number>>;
  readonly rssBytes: number;
}

/** What each verb answers. */
export interface Answers {
  readonly put: PushSent;
  readonly generate: PushSent;
  readonly clear: PushSent;
  readonly resources: readonly ResourceText[];
  readonly "push all": PushSent;
  readonly "push large": PushSent;
  readonly ca: CaSettings;
  readonly discovery: DiscoverySettings;
  readonly port: PortSettings;
  /** How many streams or connections were broken. */
  readonly break: number;
  readonly "new root": Generation;
  /** PEM. */
  readonly roots: string;
  readonly issue: IssuedLeaf;
  /** PEM, a CRL of every issuer there is. */
  readonly revoke: string;
  readonly save: null;
  readonly status: Status;
}

interface Timed {
  /** Milliseconds of the epoch, with fractions; the machine's clock. */
  readonly at: number;
}

/** What the program saw, in its order. Connections and streams are numbered; no number comes twice, not after a restart either. */
export type SeenEvent =
  | ConnectionOpened
  | ConnectionSecured
  | ConnectionClosed
  | PingSeen
  | StreamOpened
  | StreamEnded
  | DiscoveryRequest
  | DiscoveryResponse
  | CertificateRequest;

export interface ConnectionOpened extends Timed {
  readonly kind: "connection";
  readonly connection: number;
  readonly remote: string;
}

export interface ConnectionSecured extends Timed {
  readonly kind: "tls";
  readonly connection: number;
  /** What the client hello named; undefined: nothing. */
  readonly serverName: string | undefined;
  readonly protocol: string;
  readonly cipher: string;
  readonly alpn: string | undefined;
  readonly clientCertificate: boolean;
  /** The TLS handshake failed with this; the fields above are empty then. */
  readonly error: string | undefined;
}

export interface ConnectionClosed extends Timed {
  readonly kind: "closed";
  readonly connection: number;
}

/** An HTTP/2 PING of the client; it is answered. */
export interface PingSeen extends Timed {
  readonly kind: "ping";
  readonly connection: number;
}

/** A call: discovery or a certificate. */
export interface StreamOpened extends Timed {
  readonly kind: "stream";
  readonly connection: number;
  readonly stream: number;
  readonly path: string;
  /** Names in lower case, several values joined by ", ". */
  readonly headers: Readonly<Record<string, string>>;
}

export interface StreamEnded extends Timed {
  readonly kind: "ended";
  readonly stream: number;
  /** gRPC status that was sent, if one was. */
  readonly status: number | undefined;
  /** HTTP/2 error code of the reset, 0 without one. */
  readonly reset: number;
}

export interface NodeSeen {
  readonly id: string;
  readonly cluster: string;
  readonly metadata: unknown;
}

export interface DiscoveryRequest extends Timed {
  readonly kind: "request";
  readonly stream: number;
  readonly typeUrl: string;
  readonly node: NodeSeen | undefined;
  readonly subscribe: readonly string[];
  readonly unsubscribe: readonly string[];
  /** The first thousand of them. */
  readonly initialVersions: Readonly<Record<string, string>>;
  readonly initialCount: number;
  /** Of the message. */
  readonly bytes: number;
  readonly nonce: string;
  readonly error: StatusText | undefined;
  /**
   * What it was taken for. "stale": its nonce was not the latest, and it was dropped; "invalid": the stream was ended.
   */
  readonly meaning: "first" | "ack" | "nack" | "subscription" | "stale" | "invalid";
  /** Of "ack", "nack" and "stale": milliseconds since the response went out. */
  readonly afterMs: number | undefined;
}

export interface DiscoveryResponse extends Timed {
  readonly kind: "response";
  readonly stream: number;
  readonly typeUrl: string;
  readonly nonce: string;
  readonly resources: number;
  /** The first few names. */
  readonly names: readonly string[];
  readonly removed: readonly string[];
  /** Of the message. */
  readonly bytes: number;
}

export interface CertificateRequest extends Timed {
  readonly kind: "csr";
  readonly stream: number;
  /** PEM as it came. */
  readonly pem: string;
  readonly validitySeconds: number;
  readonly metadata: unknown;
  readonly impersonated: string | undefined;
  /** What is in the request; undefined where it cannot be read. */
  readonly csr: CsrSeen | undefined;
  /** gRPC status of the answer; undefined: never answered. */
  readonly status: number | undefined;
  readonly message: string;
  /** Of the certificate issued, hex in lower case. */
  readonly serial: string | undefined;
}

export interface CsrSeen {
  readonly subject: string;
  readonly signatureGood: boolean;
  /** E.g. "ECDSA P-256". */
  readonly key: string;
  /** E.g. "ECDSA SHA-256". */
  readonly signature: string;
  readonly uris: readonly string[];
  /** Other names of the subjectAltName, "kind:value". */
  readonly otherNames: readonly string[];
  readonly sanCritical: boolean;
  /** OIDs of all extensions asked for. */
  readonly extensions: readonly string[];
}

/** A line from the program. */
export type ProgramLine =
  | { readonly ready: { readonly port: number; readonly address: string } }
  | { readonly event: SeenEvent }
  | { readonly answer: number; readonly value: unknown }
  | { readonly answer: number; readonly error: string }
  | { readonly fatal: string };

/** A line to the program. */
export interface CommandLine {
  readonly id: number;
  readonly command: Command;
}
