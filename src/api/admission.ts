// What every method asks of a call before its handler runs, from the request metadata.
//
//   client-api-version   must be text
//   hasleader: true      refused while this member knows no leader; a stream that was admitted is
//                        cut with the same error after three election timeouts without one
//
// Authentication will be asked here too, once there is any.
import { isUtf8 } from "node:buffer";
import type { Clock, Timer } from "../base/clock.ts";
import { RequestError } from "../base/errors.ts";
import type { CallContext, Method, StreamMethod } from "./method.ts";
import type { ServingNode } from "./serving-node.ts";

/** As etcd. */
const leaderlessTimeoutsMax = 3;

interface AdmissionDeps {
  readonly node: Pick<ServingNode, "status">;
  readonly clock: Clock;
}

/** The method behind its admission. */
export function admitted(
  deps: AdmissionDeps,
  method: Method,
  options: { electionMs: number },
): Method {
  if (method.kind === "stream") return admittedStream(deps, method, options);
  return {
    kind: "unary",
    async handle(request, context) {
      admit(deps, context);
      return method.handle(request, context);
    },
  };
}

function admit({ node }: AdmissionDeps, { metadata }: CallContext): void {
  const version = metadata.get("client-api-version");
  // Header values arrive with one character per byte.
  if (version !== undefined && !isUtf8(Buffer.from(version, "latin1"))) {
    throw RequestError.of("invalidClientAPIVersion");
  }
  if (needsLeader(metadata) && node.status().leader === null) throw RequestError.of("noLeader");
}

function needsLeader(metadata: CallContext["metadata"]): boolean {
  return metadata.get("hasleader") === "true";
}

function admittedStream(
  deps: AdmissionDeps,
  method: StreamMethod,
  { electionMs }: { electionMs: number },
): StreamMethod {
  return {
    kind: "stream",
    async handle(requests, sink, context) {
      admit(deps, context);
      if (!needsLeader(context.metadata)) return method.handle(requests, sink, context);
      const leader = new LeaderWatch(deps, electionMs);
      const signal = AbortSignal.any([context.signal, leader.lost.signal]);
      const cut = new Promise<never>((_resolve, reject) => {
        leader.lost.signal.addEventListener("abort", () => reject(RequestError.of("noLeader")));
      });
      try {
        await Promise.race([method.handle(requests, sink, { ...context, signal }), cut]);
      } finally {
        leader.stop();
      }
    },
  };
}

/** Looks once an election timeout whether a leader is known. */
class LeaderWatch {
  readonly lost = new AbortController();
  readonly #deps: AdmissionDeps;
  readonly #electionMs: number;
  #timer: Timer;
  #leaderless = 0;

  constructor(deps: AdmissionDeps, electionMs: number) {
    this.#deps = deps;
    this.#electionMs = electionMs;
    this.#timer = deps.clock.after(electionMs, () => this.#look());
  }

  stop(): void {
    this.#timer.cancel();
  }

  #look(): void {
    this.#leaderless = this.#deps.node.status().leader === null ? this.#leaderless + 1 : 0;
    if (this.#leaderless >= leaderlessTimeoutsMax) this.lost.abort();
    else this.#timer = this.#deps.clock.after(this.#electionMs, () => this.#look());
  }
}
