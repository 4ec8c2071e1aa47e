/** What a large mesh, many policies and many series cost. */
export { benchCore } from "./bench.ts";
