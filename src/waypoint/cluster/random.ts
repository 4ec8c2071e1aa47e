/** Uniform in [0, 1); injected, so that choices can be repeated. */
export type Random = () => number;
