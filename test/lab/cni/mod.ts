/** Stand-ins for istio-cni's node agent. */
export {
  addMessage,
  bareAddMessage,
  delMessage,
  HELLO,
  keepMessage,
  parseAck,
  type PodIdentity,
  SNAPSHOT_SENT,
} from "./messages.ts";
export { type CniPod, CniStandIn } from "./server.ts";
export { ACK_DEADLINE_MS, ZdsError, ZdsSession } from "./session.ts";
