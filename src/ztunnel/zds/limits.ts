/** Size of the receive buffers of both sides; a packet that is longer is cut, and an error (spec/ztunnel.md §2.1). */
export const MAX_PACKET = 1024; // bytes
