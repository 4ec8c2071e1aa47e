/** All cases. */
import type { Case } from "../rig.ts";
import { FAILURES } from "./failures.ts";
import { FILTERS } from "./filters.ts";
import { HTTP2_CASES } from "./http2.ts";
import { POLICIES } from "./policies.ts";
import { REQUESTS } from "./requests.ts";
import { RESPONSES } from "./responses.ts";
import { REWRITES } from "./rewrites.ts";
import { ROUTES } from "./routes.ts";
import { TRANSLATED } from "./translated.ts";
import { UPGRADES } from "./upgrades.ts";

/** Names are unique. */
export const CASES: readonly Case[] = [
  ...REQUESTS,
  ...RESPONSES,
  ...ROUTES,
  ...REWRITES,
  ...FILTERS,
  ...FAILURES,
  ...UPGRADES,
  ...POLICIES,
  ...TRANSLATED,
  ...HTTP2_CASES,
];
