export * from "./config.ts";
export * from "./local_document.ts";
