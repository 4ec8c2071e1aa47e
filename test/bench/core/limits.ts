/** What the core is measured at, and how much it may cost. */

/** Of the mesh that memory, look-ups and updates are measured in. */
export const MESH_SIZE = { workloads: 100_000, services: 10_000 } as const;
export const POLICIES = 10_000;
export const SERIES = 50_000;
/** What a control plane tells of, over a stream. */
export const XDS_SIZE = { workloads: 70_000, services: 7_000 } as const;

export const MESH_MEMORY_MB = 350;
export const LOOKUP_NS = 1_000;
/**
 * An update in the large mesh by one in a mesh of a hundredth: it looks at no more, but what it looks at is no longer in
 * the processor's caches.
 */
export const UPDATE_GROWTH = 5;
/** A connection that no policy selects. */
export const UNSELECTED_US = 100;
export const SCRAPE_MS = 200;
export const HELD_MS = 12;
