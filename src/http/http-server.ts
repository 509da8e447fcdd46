// The HTTP/1 side of a listener: fastify with the routes of one surface, and what holds for every
// request whatever its route: the Host check, CORS, the /v3beta spelling, the limits on headers.
// It never listens itself; listener.ts hands it sockets.
import { createServer } from "node:http";
import type { IncomingMessage, RequestListener, Server } from "node:http";
import type { FastifyInstance } from "fastify";
import { fastify } from "fastify";
import { RequestError, grpcStatus } from "../base/errors.ts";
import { etcdClusterVersion, etcdVersion } from "../base/version.ts";
import type { FailureSinks } from "./json-reply.ts";
import { errorBody, refusalOf, sendJson } from "./json-reply.ts";
import type { Gateway } from "./gateway.ts";
import type { HealthCollaborators, HealthSource } from "./health.ts";
import { getOnly, plainError, registerHealth } from "./health.ts";

export interface HttpCollaborators extends FailureSinks {
  readonly health: HealthCollaborators;
  /** The page of /metrics. */
  readonly metrics: () => Promise<{ contentType: string; text: string }>;
  /** Null: no JSON under /v3. */
  readonly gateway: Gateway | null;
}

export interface HttpOptions {
  /** "metrics": /metrics and health only, for --listen-metrics-urls. */
  readonly surface: "client" | "metrics";
  /** "*" among them: any. */
  readonly corsOrigins: readonly string[];
  readonly hostWhitelist: readonly string[];
  readonly headersMs: number;
  readonly keepAliveMs: number;
  readonly headerBytesMax: number;
  readonly headersMax: number;
  readonly requestsPerSocketMax: number;
}

export const defaultHttpOptions: HttpOptions = {
  surface: "client",
  corsOrigins: ["*"],
  hostWhitelist: ["*"],
  headersMs: 5_000,
  // Longer than the idle timeout of common load balancers (60 s), so that they close first.
  keepAliveMs: 75_000,
  headerBytesMax: 16 * 1024,
  headersMax: 100,
  requestsPerSocketMax: 100_000,
};

export interface HttpApp {
  readonly app: FastifyInstance;
  readonly server: Server;
}

function nodeServer(handler: RequestListener, options: HttpOptions): Server {
  const server = createServer(
    {
      headersTimeout: options.headersMs,
      // A watch's request may stay open as long as its client; request-body.ts bounds the rest.
      requestTimeout: 0,
      keepAliveTimeout: options.keepAliveMs,
      maxHeaderSize: options.headerBytesMax,
      connectionsCheckingInterval: 1_000,
    },
    handler,
  );
  server.maxHeadersCount = options.headersMax;
  server.maxRequestsPerSocket = options.requestsPerSocketMax;
  // Node starts to check headersTimeout when a server listens; this one is only handed sockets.
  server.emit("listening");
  return server;
}

/** Host without port, as the whitelist has it. */
function hostName(host: string): string {
  return host.replace(/:\d*$/, "").replace(/^\[(.*)\]$/, "$1");
}

function isListed(list: readonly string[], value: string): boolean {
  return list.includes("*") || list.includes(value);
}

function guard(app: FastifyInstance, options: HttpOptions): void {
  app.addHook("onRequest", async (request, reply) => {
    const host = hostName(request.headers.host ?? "");
    if (!isListed(options.hostWhitelist, host)) {
      return plainError(
        reply,
        421,
        `The Host header ${JSON.stringify(host)} is not one this server answers to ` +
          `(protection against DNS rebinding); add it to --host-whitelist.`,
      );
    }
    const { origin } = request.headers;
    const allowed = options.corsOrigins.includes("*") ? "*" : origin;
    if (allowed !== undefined && isListed(options.corsOrigins, allowed)) {
      // On the raw response, because streams are written past fastify.
      reply.raw.setHeader("access-control-allow-methods", "POST, GET, OPTIONS, PUT, DELETE");
      reply.raw.setHeader("access-control-allow-origin", allowed);
      reply.raw.setHeader("access-control-allow-headers", "accept, content-type, authorization");
      if (allowed !== "*") reply.raw.setHeader("vary", "origin");
    }
    if (request.method === "OPTIONS") return reply.code(200).send();
    return undefined;
  });
}

function fallbacks(app: FastifyInstance, collaborators: HttpCollaborators): void {
  app.setNotFoundHandler((request, reply) => {
    const [path = ""] = request.url.split("?");
    if (!path.startsWith("/v3")) return plainError(reply, 404, "404 page not found");
    // As the gateway's own library: a known path with another method is 405.
    const isKnown = request.method !== "POST" && app.hasRoute({ method: "POST", url: path });
    const refusal = isKnown
      ? RequestError.worded(grpcStatus.unimplemented, "Method Not Allowed")
      : RequestError.worded(grpcStatus.notFound, "Not Found");
    if (isKnown) void reply.header("allow", "POST");
    return sendJson(reply, isKnown ? 405 : 404, errorBody(refusal));
  });
  app.setErrorHandler((failure: Error & { statusCode?: number }, _request, reply) => {
    const { statusCode } = failure;
    if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
      return plainError(reply, statusCode, failure.message);
    }
    return plainError(reply, 500, refusalOf(failure, collaborators).message);
  });
}

/** The cluster's version counts as undecided until this member has seen a leader. */
function registerVersion(app: FastifyInstance, source: HealthSource): void {
  let isDecided = false;
  getOnly(app, "/version", async (_request, reply) => {
    isDecided ||= source.hasLeader();
    const versions = {
      etcdserver: etcdVersion,
      etcdcluster: isDecided ? etcdClusterVersion : "not_decided",
      storage: isDecided ? etcdClusterVersion : "unknown",
    };
    return sendJson(reply, 200, versions);
  });
}

/** Builds the surface; `ready()` has been awaited. */
export async function openHttpApp(
  collaborators: HttpCollaborators,
  options: HttpOptions,
): Promise<HttpApp> {
  let server: Server | undefined;
  const app = fastify({
    serverFactory: (handler) => {
      server = nodeServer(handler, options);
      return server;
    },
    exposeHeadRoutes: false,
    rewriteUrl: ({ url = "/" }: IncomingMessage) => url.replace(/^\/v3beta\//, "/v3/"),
    frameworkErrors: (failure, _request, reply) => {
      plainError(reply, failure.statusCode ?? 400, failure.message);
    },
  });
  // Bodies are read by the gateway itself, bounded while they come in; no route else has one.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (_request, _payload, done) => done(null));
  guard(app, options);
  fallbacks(app, collaborators);
  registerHealth(app, collaborators.health);
  getOnly(app, "/metrics", async (_request, reply) => {
    const { contentType, text } = await collaborators.metrics();
    return reply.header("content-type", contentType).send(text);
  });
  if (options.surface === "client") {
    registerVersion(app, collaborators.health.source);
    collaborators.gateway?.register(app);
  }
  await app.ready();
  return { app, server: server ?? app.server };
}
