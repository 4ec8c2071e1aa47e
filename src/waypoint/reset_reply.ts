/** What the client is told when the upstream failed before it answered (spec/waypoint.md §6.1). */
import type { Reset, ResetReason } from "../http/mod.ts";
import type { LocalReply } from "./local_reply.ts";
import type { Flag } from "./stream_info.ts";

export const TIMEOUT_BODY = "upstream request timeout";

interface Words {
  readonly flag: Flag;
  readonly status: 502 | 503;
  /** As Envoy names its StreamResetReason in bodies. */
  readonly text: string;
}

const WORDS: Readonly<Record<ResetReason, Words>> = {
  "remote-reset": { flag: "UR", status: 503, text: "remote reset" },
  "remote-refused-stream": { flag: "UR", status: 503, text: "remote refused stream reset" },
  "connection-failure": { flag: "UF", status: 503, text: "remote connection failure" },
  "connection-termination": { flag: "UC", status: 503, text: "connection termination" },
  "protocol-error": { flag: "UPE", status: 502, text: "protocol error" },
  "local-reset": { flag: "LR", status: 503, text: "local reset" },
  "overflow": { flag: "UO", status: 503, text: "overflow" },
};

export function resetFlag(reset: Reset): Flag {
  return WORDS[reset.reason].flag;
}

/** @param retried a retry of the policy went before */
export function resetReply(reset: Reset, retried: boolean): LocalReply {
  const { status, text } = WORDS[reset.reason];
  const which = retried ? "retried and the latest reset reason" : "reset reason";
  const failure = reset.reason === "connection-failure" && reset.detail !== "" ? `|${reset.detail}` : "";
  return {
    status,
    body: `upstream connect error or disconnect/reset before headers. ${which}: ${text}`,
    details: `upstream_reset_before_response_started{${text}${failure}}`.replaceAll(" ", "_"),
    ...(reset.reason === "overflow" ? { fields: [["x-envoy-overloaded", "true"]] } : {}),
  };
}
