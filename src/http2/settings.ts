/** Identifiers of SETTINGS parameters (RFC 9113 §6.5.2, RFC 8441 §3, RFC 9218 §2.1). */
export const SettingId = {
  HEADER_TABLE_SIZE: 0x1,
  ENABLE_PUSH: 0x2,
  MAX_CONCURRENT_STREAMS: 0x3,
  INITIAL_WINDOW_SIZE: 0x4,
  MAX_FRAME_SIZE: 0x5,
  MAX_HEADER_LIST_SIZE: 0x6,
  ENABLE_CONNECT_PROTOCOL: 0x8,
  NO_RFC7540_PRIORITIES: 0x9,
} as const;

export const DEFAULT_HEADER_TABLE_SIZE = 4096; // bytes, RFC 9113 §6.5.2
export const DEFAULT_WINDOW_SIZE = 65_535; // bytes, RFC 9113 §6.9.2
export const MIN_MAX_FRAME_SIZE = 16_384; // bytes, RFC 9113 §4.2
export const MAX_MAX_FRAME_SIZE = 16_777_215; // bytes, RFC 9113 §4.2

/** What a peer has announced. Numbers are Infinity where the protocol sets no limit. */
export interface PeerSettings {
  headerTableSize: number;
  enablePush: boolean;
  maxConcurrentStreams: number;
  initialWindowSize: number;
  maxFrameSize: number;
  maxHeaderListSize: number;
  enableConnectProtocol: boolean;
}

/** The values in force before any SETTINGS frame (RFC 9113 §6.5.2). */
export function initialPeerSettings(): PeerSettings {
  return {
    headerTableSize: DEFAULT_HEADER_TABLE_SIZE,
    enablePush: true,
    maxConcurrentStreams: Infinity,
    initialWindowSize: DEFAULT_WINDOW_SIZE,
    maxFrameSize: MIN_MAX_FRAME_SIZE,
    maxHeaderListSize: Infinity,
    enableConnectProtocol: false,
  };
}
