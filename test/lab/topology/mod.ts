/** Network namespaces that look like a small cluster: nodes, pods, istio-cni's redirection, and their complete removal. */
export { attempt, commandEnvironment, CommandError, findProgram, must } from "./commands.ts";
export { type Host, inspectHost, installPrograms, type Redirector, rerunIn } from "./host.ts";
export { type Addresses, Lab, type LabNode, type LabPlan, type LabPod, type PodPlan } from "./lab.ts";
export {
  isAlive,
  leftovers,
  makeScratchDirectory,
  recordPath,
  recordProcess,
  removeAbandoned,
  removeAll,
  removePath,
} from "./ledger.ts";
export { hasIpv6, NetworkNamespace, raiseConntrackLimit } from "./namespace.ts";
export { DeadlineError, eventually, LAB_DEADLINE_MS, LabProcess, type ProcessOptions } from "./process.ts";
export { INPOD_MARK, redirectionListing, redirectPod } from "./redirection.ts";
