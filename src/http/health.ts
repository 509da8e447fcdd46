// The plain endpoints that probes and operators ask: /health, /livez, /readyz with their single
// checks, and /version. Bodies are etcd's to the byte, the line feeds of its error helper
// included, since probes and scripts compare them.
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { RequestError, errorTable } from "../base/errors.ts";

/** What the checks ask of the node. */
export interface HealthSource {
  /** Raised alarms by name: NOSPACE, CORRUPT. */
  alarms(): readonly string[];
  hasLeader(): boolean;
  isLearner(): boolean;
  /** Reads one key, bounded by the node's request timeout; throws what refused it. */
  read(kind: "linearizable" | "serializable"): Promise<void>;
}

export interface HealthCollaborators {
  readonly source: HealthSource;
  /** Told of each probe: /health has no check's name. */
  readonly observe: (path: HealthPath, check: string | null, passed: boolean) => void;
}

export type HealthPath = "/health" | "/livez" | "/readyz";

type Check = "data_corruption" | "serializable_read" | "linearizable_read" | "non_learner";

const checksOf: Readonly<Record<"/livez" | "/readyz", readonly Check[]>> = {
  "/livez": ["serializable_read"],
  "/readyz": ["data_corruption", "serializable_read", "linearizable_read", "non_learner"],
};

/** Why the check fails; null when it passes. */
async function fault(source: HealthSource, check: Check): Promise<string | null> {
  switch (check) {
    case "data_corruption":
      return source.alarms().includes("CORRUPT") ? "alarm activated: CORRUPT" : null;
    case "serializable_read":
      return readFault(source, "serializable");
    case "linearizable_read":
      return readFault(source, "linearizable");
    case "non_learner":
      return source.isLearner() ? "not supported for learner" : null;
  }
}

async function readFault(
  source: HealthSource,
  kind: "linearizable" | "serializable",
): Promise<string | null> {
  try {
    await source.read(kind);
    return null;
  } catch (failure) {
    if (!(failure instanceof RequestError)) throw failure;
    return failure.message;
  }
}

function values(request: FastifyRequest, name: string): string[] {
  return new URL(request.url, "http://keelson").searchParams.getAll(name);
}

/** As Go's http.Error, which etcd answers with. */
export function plainError(reply: FastifyReply, status: number, text: string): FastifyReply {
  return reply
    .code(status)
    .header("content-type", "text/plain; charset=utf-8")
    .header("x-content-type-options", "nosniff")
    .send(`${text}\n`);
}

/** A route for GET; any other method is refused with an Allow header. */
export function getOnly(
  app: FastifyInstance,
  path: string,
  answer: (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>,
): void {
  app.all(path, (request, reply) => {
    if (request.method === "GET") return answer(request, reply);
    return plainError(reply.header("allow", "GET"), 405, "Method Not Allowed");
  });
}

/** Why the member is unhealthy; null when it is not. Alarms come first, then leader, then read. */
async function unhealthyReason(
  source: HealthSource,
  excludedAlarms: readonly string[],
  isSerializable: boolean,
): Promise<string | null> {
  const alarm = source.alarms().find((name) => !excludedAlarms.includes(name));
  if (alarm !== undefined) return `ALARM ${alarm}`;
  if (!isSerializable && !source.hasLeader()) return "RAFT NO LEADER";
  const reason = await readFault(source, isSerializable ? "serializable" : "linearizable");
  // The probe has no user; that it was asked for one proves that requests are served.
  if (reason === null || reason === errorTable.userEmpty.text) return null;
  if (reason === errorTable.permissionDenied.text) return null;
  return `RANGE ERROR:${reason}`;
}

export function registerHealth(app: FastifyInstance, collaborators: HealthCollaborators): void {
  const { source, observe } = collaborators;

  getOnly(app, "/health", async (request, reply) => {
    const isSerializable = values(request, "serializable")[0] === "true";
    const reason = await unhealthyReason(source, values(request, "exclude"), isSerializable);
    observe("/health", null, reason === null);
    const body = JSON.stringify({ health: String(reason === null), reason: reason ?? "" });
    if (reason !== null) return plainError(reply, 503, body);
    return reply.code(200).header("content-type", "text/plain; charset=utf-8").send(body);
  });

  for (const path of ["/livez", "/readyz"] as const) {
    const answer = async (
      checks: readonly Check[],
      request: FastifyRequest,
      reply: FastifyReply,
    ) => {
      const lines: string[] = [];
      let passed = true;
      for (const check of checks) {
        const reason = await fault(source, check);
        observe(path, check, reason === null);
        lines.push(reason === null ? `[+]${check} ok\n` : `[-]${check} failed: ${reason}\n`);
        passed &&= reason === null;
      }
      if (!passed) return plainError(reply, 503, lines.join(""));
      const isVerbose = values(request, "verbose").length > 0;
      return reply
        .code(200)
        .header("content-type", "text/plain; charset=utf-8")
        .send(`${isVerbose ? lines.join("") : ""}ok\n`);
    };
    getOnly(app, path, (request, reply) => {
      const excluded = values(request, "exclude");
      const checks = checksOf[path].filter((check) => !excluded.includes(check));
      return answer(checks, request, reply);
    });
    for (const check of checksOf[path]) {
      getOnly(app, `${path}/${check}`, (request, reply) => answer([check], request, reply));
    }
  }
}
