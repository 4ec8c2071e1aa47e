export { closeFd, duplicateFd, openFdCount, openFileLimit, raiseOpenFileLimit } from "./descriptor.ts";
export { errnoName, FatalNamespaceError, SystemError } from "./error.ts";
export { socketPair } from "./socket_pair.ts";
export { SocketStock } from "./socket_stock.ts";
export { releaseStartupCode } from "./memory.ts";
export { memoryFile, readMemoryFile } from "./memory_file.ts";
export {
  inNamespace,
  isNetworkNamespace,
  loopbackHasIpv6,
  type NamespaceIdentity,
  namespaceIdentity,
  namespaceRefusal,
  openNamespace,
  ownNamespace,
  portIsListenedOn,
  sameNamespace,
} from "./namespace.ts";
export { watchReadable } from "./readable.ts";
export { acceptQueue } from "./reuseport.ts";
export { type Packet, SeqpacketListener, SeqpacketSocket } from "./seqpacket.ts";
export {
  type KeepAlive,
  type LivenessOptions,
  localAddress,
  originalDestination,
  peerAddress,
  setResetOnClose,
  socketError,
} from "./socket.ts";
export {
  type ConnectOptions,
  connectTcp,
  type ListenOptions,
  listenTcp,
  markRefusal,
  refusedByNetwork,
  type TcpListener,
} from "./tcp.ts";
export { bindUdp, connectUdp, type UdpBindOptions, UdpConnection, type UdpConnectOptions, UdpSocket } from "./udp.ts";
