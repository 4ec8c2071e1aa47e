/** What the parts of the program are told to do; replaced as a whole when the test changes something. */
import { type CaSettings, type DiscoverySettings, type PortSettings, SERVER_NAMES } from "../protocol.ts";

/** istiod's own: certificates begin two minutes ago. */
const BACKDATE_SECONDS = 120;
/** MAX_WORKLOAD_CERT_TTL: 90 days. */
const MAX_TTL_SECONDS = 90 * 86_400;
/** ISTIO_GPRC_MAXRECVMSGSIZE: 4 MiB. */
const MAX_REQUEST_BYTES = 4 << 20;

export interface Settings {
  ca: CaSettings;
  discovery: DiscoverySettings;
  port: PortSettings;
}

export function defaults(): Settings {
  return {
    ca: {
      issuer: 0,
      roots: [0],
      chain: "full",
      ttlSeconds: undefined,
      backdateSeconds: BACKDATE_SECONDS,
      shiftSeconds: 0,
      maxTtlSeconds: MAX_TTL_SECONDS,
      identity: undefined,
      foreignKey: false,
      delayMs: 0,
      silent: false,
      refuse: undefined,
      refusals: undefined,
      forbidden: [],
    },
    discovery: {
      delayMs: 0,
      silent: false,
      refuse: undefined,
      httpStatus: undefined,
      pieceBytes: undefined,
      maxRequestBytes: MAX_REQUEST_BYTES,
    },
    port: {
      connections: "accept",
      serverNames: SERVER_NAMES,
      serverIssuer: 0,
      serverExpired: false,
      tokens: undefined,
      refuseTokens: false,
      clusterId: undefined,
    },
  };
}
