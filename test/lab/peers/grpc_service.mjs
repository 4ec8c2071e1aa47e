/** The lab's gRPC service: the conformance tests' own name and methods, and one of each streaming kind. JSON on the wire. */
import { Buffer } from "node:buffer";

export const SERVICE = "gateway_api_conformance.echo_basic.grpcecho.GrpcEcho";

const encode = (value) => Buffer.from(JSON.stringify(value));
const decode = (bytes) => JSON.parse(bytes.toString());

function method(name, requestStream, responseStream) {
  return {
    path: `/${SERVICE}/${name}`,
    requestStream,
    responseStream,
    requestSerialize: encode,
    requestDeserialize: decode,
    responseSerialize: encode,
    responseDeserialize: decode,
  };
}

export const methods = {
  Echo: method("Echo", false, false),
  EchoTwo: method("EchoTwo", false, false),
  Collect: method("Collect", true, false),
  Spread: method("Spread", false, true),
  Chat: method("Chat", true, true),
};
