/**
 * What is wrong with the framing fields of the section that was read last, the same for requests and responses (RFC 9112
 * §6): every doubt is an error, since another reader may resolve it otherwise.
 */
import { Details, type Problem, problem } from "./errors.ts";
import { facts } from "./fields.ts";

/** @param status of the answer that tells of it */
export function lengthProblem(status: number): Problem | undefined {
  if (!facts.lengthValid) return problem(status, Details.CODEC_ERROR, "Content-Length is not a number");
  if (facts.lengths > 1) return problem(status, Details.CODEC_ERROR, "Content-Length more than once");
  return undefined;
}

/** @param unknownStatus for a coding that is not `chunked` alone */
export function encodingProblem(http10: boolean, status: number, unknownStatus: number): Problem | undefined {
  if (facts.encodings === 0) return undefined;
  if (facts.lengths > 0) return problem(status, Details.LENGTH_AND_CHUNKED, "Content-Length beside Transfer-Encoding");
  if (http10) return problem(status, Details.INVALID_TRANSFER_ENCODING, "Transfer-Encoding in HTTP/1.0");
  if (facts.encodings > 1 || !facts.chunked) {
    return problem(unknownStatus, Details.INVALID_TRANSFER_ENCODING, "Transfer-Encoding is not exactly chunked");
  }
  return undefined;
}
