/**
 * An istiod for tests: discovery (delta ADS) and certificates over TLS, as Istio's own control plane behaves on the
 * wire, in a process of its own and with none of the proxy's code, so that what agrees with it proves something. Its
 * content, its faults and what it saw are in the hands of the test.
 *
 *     const istiod = await startIstiod({ command: (words) => node.namespace.command(words), address: "0.0.0.0", host: node.ip });
 *     await istiod.put({ put: [podWorkload(labPod), serviceText({ name: "s", addresses: ["10.96.0.1"], ports: { 80: 8080 } })] });
 *     // A proxy with XDS_ADDRESS = CA_ADDRESS = istiod.url, XDS_ROOT_CA = CA_ROOT_CA = istiod.rootPath and the token of istiod.tokenPath
 *     await istiod.synced();
 *     const push = await istiod.put({ put: [badResources().unknownEnum] });
 *     const [nack] = await istiod.answers(push);
 *     await istiod.kill("kept");  await istiod.start();
 *
 * The program is bundled for Node and runs there: another HTTP/2 and another TLS than ours, and Bun's own HTTP/2 server
 * does not end refused streams as Node's does.
 */
export { removeProgramBundle } from "./bundle.ts";
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
export { ztunnelEnvironment } from "./ztunnel_environment.ts";
