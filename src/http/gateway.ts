// The JSON gateway: POST of a request message as JSON, answered by the same method as gRPC. A
// unary method answers one JSON object; a streaming one a line `{"result":{…}}` for each message,
// each line its own chunk and sent at once, and a line `{"error":{…}}` when it is refused midway.
// Deliberately no websockets, and nothing but what the descriptors say about any message.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { CallObserver } from "../api/call-observer.ts";
import type { MethodTable, ResponseSink, StreamMethod, UnaryMethod } from "../api/method.ts";
import { concatBytes } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { RequestError, grpcStatus, httpStatusOf } from "../base/errors.ts";
import { openCall } from "./call-context.ts";
import { errorBody, gatewayHeaders, refusalOf, sendJson, streamErrorBody } from "./json-reply.ts";
import type { FailureSinks } from "./json-reply.ts";
import type { MethodSchema } from "./json-mapping.ts";
import { JsonMapping } from "./json-mapping.ts";
import type { BodyLimits } from "./request-body.ts";
import { bodyText, bodyTexts } from "./request-body.ts";
import { gatewayRoutes } from "./routes.ts";

export interface GatewayCollaborators extends FailureSinks {
  readonly methods: MethodTable;
  readonly clock: Clock;
  readonly observer: CallObserver;
}

/** Writes each response message as one line; the head leaves with the first. */
class LineSink implements ResponseSink {
  readonly #response: ServerResponse;
  readonly #toJson: (message: Uint8Array) => unknown;

  constructor(response: ServerResponse, toJson: (message: Uint8Array) => unknown) {
    this.#response = response;
    this.#toJson = toJson;
  }

  write(message: Uint8Array): boolean {
    if (this.#response.destroyed || this.#response.writableEnded) return false;
    if (!this.#response.headersSent) this.#response.writeHead(200, gatewayHeaders);
    return this.#response.write(`${JSON.stringify({ result: this.#toJson(message) })}\n`);
  }

  writeParts(parts: readonly Uint8Array[]): boolean {
    return this.write(concatBytes(parts));
  }

  drained(): Promise<void> {
    const response = this.#response;
    if (!response.writableNeedDrain || response.destroyed) return Promise.resolve();
    return new Promise((resolve) => {
      const settle = () => {
        response.off("drain", settle).off("close", settle);
        resolve();
      };
      response.on("drain", settle).on("close", settle);
    });
  }
}

/** The last line of a stream that is refused, with its status when nothing was sent before. */
function endRefused(response: ServerResponse, refusal: RequestError): void {
  if (response.writableEnded) return;
  if (!response.headersSent) response.writeHead(httpStatusOf(refusal.status), gatewayHeaders);
  response.end(`${JSON.stringify(streamErrorBody(refusal))}\n`);
}

/** A served method. */
interface Route<Kind> {
  /** Full gRPC path. */
  readonly path: string;
  readonly method: Kind;
  readonly schema: MethodSchema;
}

export class Gateway {
  readonly #collaborators: GatewayCollaborators;
  readonly #limits: BodyLimits;
  readonly #mapping = new JsonMapping();
  /** Responses of streaming calls under way; as many as the listener's connections at most. */
  readonly #streams = new Set<ServerResponse>();

  constructor(collaborators: GatewayCollaborators, limits: BodyLimits) {
    this.#collaborators = collaborators;
    this.#limits = limits;
  }

  /** Ends all streaming calls as a server does that stops; their handlers see the caller leave. */
  close(): void {
    for (const response of this.#streams) endRefused(response, RequestError.of("stopped"));
  }

  /** Adds a POST route for each path whose method is served. */
  register(app: FastifyInstance): void {
    for (const { method: path, paths } of gatewayRoutes) {
      const method = this.#collaborators.methods.get(path);
      const schema = this.#mapping.schema(path);
      if (method === undefined || schema === undefined) continue;
      for (const url of paths) {
        app.post(url, (request, reply) =>
          method.kind === "unary"
            ? this.#unary({ path, method, schema }, request, reply)
            : this.#stream({ path, method, schema }, request, reply),
        );
      }
    }
  }

  async #unary(
    { path, method, schema }: Route<UnaryMethod>,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<FastifyReply> {
    const { clock, observer } = this.#collaborators;
    observer.started(path);
    try {
      const text = await bodyText(request.raw, this.#limits, clock);
      const call = openCall(request.headers, reply.raw, clock);
      try {
        const message = this.#mapping.encode(schema.input, text);
        observer.received(path, message.length);
        const bytes = await method.handle(message, call.context);
        const answer = this.#mapping.decode(schema.output, bytes);
        observer.sent(path, bytes.length);
        observer.finished(path, grpcStatus.ok);
        return sendJson(reply, 200, answer);
      } finally {
        call.close();
      }
    } catch (failure) {
      const refusal = refusalOf(failure, this.#collaborators);
      observer.finished(path, refusal.status);
      const status = httpStatusOf(refusal.status);
      // A body that was not read to its end cannot be followed by another request.
      if (!request.raw.complete) void reply.header("connection", "close");
      return sendJson(reply, status, errorBody(refusal));
    }
  }

  async #stream(
    { path, method, schema }: Route<StreamMethod>,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<void> {
    const { clock, observer } = this.#collaborators;
    observer.started(path);
    // The reply is written here line by line; fastify has no part in it.
    reply.hijack();
    const response = reply.raw;
    this.#streams.add(response);
    const sink = new LineSink(response, (bytes) => {
      observer.sent(path, bytes.length);
      return this.#mapping.decode(schema.output, bytes);
    });
    try {
      const call = openCall(request.headers, response, clock);
      try {
        await method.handle(this.#requests({ path, schema }, request.raw), sink, call.context);
      } finally {
        call.close();
      }
      observer.finished(path, grpcStatus.ok);
      if (!response.headersSent) response.writeHead(200, gatewayHeaders);
      response.end();
    } catch (failure) {
      const refusal = refusalOf(failure, this.#collaborators);
      observer.finished(path, refusal.status);
      endRefused(response, refusal);
    } finally {
      this.#streams.delete(response);
    }
  }

  async *#requests(
    { path, schema }: Pick<Route<StreamMethod>, "path" | "schema">,
    request: IncomingMessage,
  ): AsyncGenerator<Uint8Array> {
    const { clock, observer } = this.#collaborators;
    for await (const text of bodyTexts(request, this.#limits, clock)) {
      const message = this.#mapping.encode(schema.input, text);
      observer.received(path, message.length);
      yield message;
    }
  }
}
