/** How gRPC shows in HTTP, and HTTP in gRPC (gRPC over HTTP/2, HTTP to gRPC status code mapping). Without I/O. */

const CONTENT_TYPE = "application/grpc";
const PLUS = 0x2b;

/** Whether a content type is gRPC's as Envoy sees it: `application/grpc` alone or with `+proto` and the like. */
export function isGrpcContentType(contentType: string | undefined): boolean {
  if (contentType === undefined || !contentType.startsWith(CONTENT_TYPE)) return false;
  return contentType.length === CONTENT_TYPE.length || contentType.charCodeAt(CONTENT_TYPE.length) === PLUS;
}

/** How gRPC clients hear of an HTTP status. */
export function grpcStatusOfHttp(status: number): number {
  switch (status) {
    case 400:
      return 13;
    case 401:
      return 16;
    case 403:
      return 7;
    case 404:
      return 12;
    case 429:
    case 502:
    case 503:
    case 504:
      return 14;
    default:
      return 2;
  }
}
