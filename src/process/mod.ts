/** What the processes of all modes have in common: logging, signals, bugs, the state they start from. */
export { surviveBugs } from "./bugs.ts";
export { collectSoon } from "./garbage.ts";
export { onStopSignal } from "./signals.ts";
export { followLocalState, type LocalStateOwner } from "./local_state.ts";
export { socketAddresses } from "./addresses.ts";
export { openListener } from "./listener.ts";
export { Credentials } from "./credentials.ts";
export { controlPlaneChannel, watchRoots } from "./control_plane.ts";
export { dumpControlPlane } from "./control_plane_dump.ts";
export { dumpCertificates } from "./certificate_dump.ts";
export { dumpMesh, type Json } from "./mesh_dump.ts";
export { startLog } from "./start_log.ts";
