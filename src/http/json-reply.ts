// How the gateway replies: its headers, and refusals as the union of what the gateways of etcd's
// lines send, because clients read `error`, `message` or `code`. Only texts that a client may see:
// causes stay inside.
import { STATUS_CODES } from "node:http";
import type { FastifyReply } from "fastify";
import { AssertionError } from "../base/assert.ts";
import { RequestError, grpcStatus, httpStatusOf } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";

export const gatewayHeaders = {
  "content-type": "application/json",
  "grpc-metadata-content-type": "application/grpc",
} as const;

/** As bytes, because fastify adds a charset to the type of text, and etcd does not. */
export function sendJson(reply: FastifyReply, status: number, json: unknown): FastifyReply {
  return reply
    .code(status)
    .headers(gatewayHeaders)
    .send(Buffer.from(JSON.stringify(json)));
}

/** Where failures go that are no refusals. */
export interface FailureSinks {
  readonly logger: Logger;
  /** Ends the process. */
  readonly fatal: (error: unknown) => void;
}

/**
 * The refusal that a failure stands for. A broken invariant is none: it ends the process. Any
 * other error in an adapter costs one request, not a node.
 */
export function refusalOf(failure: unknown, { logger, fatal }: FailureSinks): RequestError {
  if (failure instanceof RequestError) return failure;
  if (failure instanceof AssertionError) fatal(failure);
  else
    logger.error({ error: failure instanceof Error ? failure.stack : failure }, "request failed");
  return RequestError.worded(grpcStatus.internal, "internal error", failure);
}

export function errorBody(refusal: RequestError): object {
  const { message, status } = refusal;
  return { error: message, message, code: status, details: [] };
}

/** One line of a stream that ended with a refusal. */
export function streamErrorBody(refusal: RequestError): object {
  const httpStatus = httpStatusOf(refusal.status);
  return {
    error: {
      grpc_code: refusal.status,
      http_code: httpStatus,
      message: refusal.message,
      http_status: STATUS_CODES[httpStatus] ?? "",
      code: refusal.status,
      details: [],
    },
  };
}
