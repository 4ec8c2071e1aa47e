export { Upgrade } from "./upgrade.ts";
