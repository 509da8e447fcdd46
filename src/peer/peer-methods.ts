// The methods that members call on each other, with their wire forms: the stream carries raw
// bytes, lease calls are unary. Paths are of proto package keelson, service Peer.
import type { MethodDefinition } from "@grpc/grpc-js";
import {
  LeaseRemainingRequest,
  LeaseRemainingResponse,
  LeaseRenewRequest,
  LeaseRenewResponse,
} from "../proto/keelson/peer.ts";

const raw = (bytes: Buffer): Buffer => bytes;

/** First Hello and HelloResponse, then frames from the dialing side. */
export const streamMethod: MethodDefinition<Buffer, Buffer> = {
  path: "/keelson.Peer/Stream",
  requestStream: true,
  responseStream: true,
  requestSerialize: raw,
  requestDeserialize: raw,
  responseSerialize: raw,
  responseDeserialize: raw,
};

interface Form<T> {
  encode(message: T): { finish(): Uint8Array };
  decode(bytes: Uint8Array): T;
}

function unary<Request, Response>(
  name: string,
  request: Form<Request>,
  response: Form<Response>,
): MethodDefinition<Request, Response> {
  return {
    path: `/keelson.Peer/${name}`,
    requestStream: false,
    responseStream: false,
    requestSerialize: (message) => Buffer.from(request.encode(message).finish()),
    requestDeserialize: (bytes) => request.decode(bytes),
    responseSerialize: (message) => Buffer.from(response.encode(message).finish()),
    responseDeserialize: (bytes) => response.decode(bytes),
  };
}

export const renewMethod = unary("LeaseRenew", LeaseRenewRequest, LeaseRenewResponse);
export const remainingMethod = unary(
  "LeaseRemaining",
  LeaseRemainingRequest,
  LeaseRemainingResponse,
);

/** Metadata of a lease call: which cluster and which member it is meant for. */
export const clusterHeader = "keelson-cluster";
export const targetHeader = "keelson-to";
