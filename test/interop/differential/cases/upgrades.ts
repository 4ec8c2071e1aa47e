/** Upgrades, granted and refused. */
import type { Case } from "../rig.ts";
import { answered, ask, ok, SOCKET, status, SWITCH } from "./ask.ts";

export const UPGRADES: readonly Case[] = [
  ask("websocket", "GET /", SOCKET, "", answered({ raw: SWITCH, then: "hello", close: true })),
  ask(
    "websocket upper",
    "GET /",
    SOCKET.map((field) => field.replace("websocket", "WebSocket")),
    "",
    answered({ raw: SWITCH, then: "hello", close: true }),
  ),
  ask(
    "websocket keep-alive",
    "GET /",
    ["connection: keep-alive, Upgrade", ...SOCKET.slice(1)],
    "",
    answered({ raw: SWITCH, then: "hello", close: true }),
  ),
  ask("websocket no key", "GET /", SOCKET.slice(0, 2), "", answered({ raw: SWITCH, close: true })),
  ask("websocket refused", "GET /", SOCKET, "", answered(status(403))),
  ask("websocket refused body", "GET /", SOCKET, "", answered(ok())),
  ask(
    "websocket 426",
    "GET /",
    SOCKET,
    "",
    answered(status(426, "Upgrade Required", "upgrade: websocket\r\nconnection: upgrade\r\n")),
  ),
  ask("websocket post", "POST /", [...SOCKET, "content-length: 0"], "", answered({ raw: SWITCH, close: true })),
  ask("websocket length", "GET /", [...SOCKET, "content-length: 0"], "", answered({ raw: SWITCH, close: true })),
  ask("websocket two", "GET /", ["connection: upgrade", "upgrade: websocket, foo"], "", answered(status(400))),
  ask(
    "websocket other answer",
    "GET /",
    SOCKET,
    "",
    answered({ raw: SWITCH.replace("upgrade: websocket", "upgrade: other"), close: true }),
  ),
  ask("websocket close", "GET /", SOCKET, "", answered({ raw: undefined, close: true })),
  ask("websocket rewritten", "GET /rewrite/sep/x", SOCKET, "", answered({ raw: SWITCH, close: true })),
  ask("websocket direct", "GET /direct/200", SOCKET),
  ask("websocket redirect", "GET /redirect/host", SOCKET),
  ask(
    "websocket protocol",
    "GET /",
    [...SOCKET, "sec-websocket-protocol: chat", "sec-websocket-extensions: permessage-deflate"],
    "",
    answered({ raw: SWITCH, close: true }),
  ),
  ask(
    "websocket http2 settings",
    "GET /",
    ["connection: Upgrade, HTTP2-Settings", "upgrade: h2c, websocket", "http2-settings: x"],
    "",
    answered(ok()),
  ),
];
