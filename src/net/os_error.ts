import { constants } from "node:os";

/** Descriptions as the C library gives them, for the errors that a proxied connection can meet. */
const DESCRIPTIONS: Readonly<Record<string, string>> = {
  EACCES: "Permission denied",
  EADDRINUSE: "Address in use",
  EADDRNOTAVAIL: "Address not available",
  ECONNABORTED: "Software caused connection abort",
  ECONNREFUSED: "Connection refused",
  ECONNRESET: "Connection reset by peer",
  EHOSTUNREACH: "No route to host",
  EINVAL: "Invalid argument",
  EMFILE: "Too many open files",
  ENETUNREACH: "Network is unreachable",
  ENFILE: "Too many open files in system",
  ENOBUFS: "No buffer space available",
  EPERM: "Operation not permitted",
  EPIPE: "Broken pipe",
  ETIMEDOUT: "Connection timed out",
};

const NUMBERS: Readonly<Record<string, number>> = constants.errno;

/**
 * The text of an operating system error as the original prints it after `error=` (spec/ztunnel.md §10.4),
 * e.g. `Connection refused (os error 111)`.
 */
export function osErrorText(code: string): string {
  const number = NUMBERS[code];
  if (number === undefined) return code;
  return `${DESCRIPTIONS[code] ?? code} (os error ${number})`;
}

/** Why a port that one wants to listen on cannot be had. */
export function portTaken(port: number): string {
  return `port ${port} is taken (another ambient in this network namespace?)`;
}

/** The code of an error given by the runtime (`ECONNRESET`), or its message when it carries none. */
export function errorCode(error: Error | undefined | null): string {
  if (error === undefined || error === null) return "";
  const { code } = error as Error & { code?: unknown };
  return typeof code === "string" ? code : error.message;
}
