/**
 * An istiod for tests: discovery (delta ADS) and certificates over TLS, as Istio's own control plane behaves on the
 * wire, in a process of its own and with none of the proxy's code, so that what agrees with it proves something. Its
 * content, its faults and what it saw are in the hands of the test.
 */
export { type Istiod, type IstiodOptions, type MeshChange, startIstiod } from "./istiod.ts";
export type { Seen } from "./seen.ts";
export type * from "./protocol.ts";
export { type BadResources, badResources, badService } from "./bad.ts";
export { ADDRESS_TYPE, AUTHORIZATION_TYPE, WORKLOAD_TYPE } from "./protocol.ts";
export {
  type PodWorkload,
  podWorkload,
  type PolicyPlan,
  policyText,
  type ServicePlan,
  serviceText,
} from "./content.ts";
