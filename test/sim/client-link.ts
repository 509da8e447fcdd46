// The way between clients and members: calls of the real handlers, with requests and answers that
// may be late or lost, connections that break when a process dies, and clients that give up. What
// a client can know of its call is in the reply: answered, refused, or nothing (unknown).
import { RequestError } from "../../src/base/errors.ts";
import type { MemberId } from "../../src/base/ids.ts";
import type { Prng } from "../../src/base/prng.ts";
import type { CallContext, ResponseSink, StreamMethod } from "../../src/api/method.ts";
import type { SimCluster } from "./cluster.ts";
import type { SimMember } from "./sim-member.ts";
import { must, Violation } from "./violation.ts";

export type Reply =
  | { readonly type: "answered"; readonly bytes: Uint8Array }
  | { readonly type: "refused"; readonly error: RequestError }
  | { readonly type: "unknown" };

const unknown: Reply = { type: "unknown" };

/** An open stream, as its client holds it. */
export interface ClientStream {
  send(request: Uint8Array): void;
  /** The client goes away. */
  close(): void;
}

export interface StreamEvents {
  readonly response: (bytes: Uint8Array) => void;
  /** The server ended it, or the connection broke. */
  readonly ended: (error: unknown) => void;
  /** How long the client takes to read one response. */
  readonly readMs: () => number;
}

/** Responses that wait for a client's reading before the sink says full. */
const sinkMax = 3;

export class ClientLink {
  /** Probability that a request, or an answer, is lost. */
  loss = 0;
  readonly #cluster: SimCluster;
  readonly #prng: Prng;
  /** Told when the process of a member dies. */
  readonly #onReset = new Map<MemberId, Set<() => void>>();

  constructor(deps: { cluster: SimCluster; prng: Prng }) {
    this.#cluster = deps.cluster;
    this.#prng = deps.prng;
  }

  /** The process of this member is gone, and its connections with it. */
  reset(member: SimMember): void {
    const told = this.#onReset.get(member.id);
    this.#onReset.delete(member.id);
    for (const tell of told ?? []) this.#later(tell);
  }

  call(
    member: SimMember,
    path: string,
    request: Uint8Array,
    limits: { timeoutMs: number },
  ): Promise<Reply> {
    if (!member.isRunning()) return Promise.resolve(refusedByNobody);
    const method = member.methods().get(path);
    must(method?.kind === "unary", "harness", () => `no unary method ${path}`);
    const clock = member.clock();
    const abort = new AbortController();
    return new Promise((resolve, reject) => {
      const over = (reply: Reply) => {
        timer.cancel();
        this.#forget(member, lost);
        resolve(reply);
      };
      const lost = () => over(unknown);
      const timer = this.#cluster.clock.after(limits.timeoutMs, () => {
        abort.abort(gone);
        over(unknown);
      });
      this.#remember(member, lost);
      if (this.#prng.chance(this.loss)) return;
      const back = (reply: Reply) => {
        if (!this.#prng.chance(this.loss)) this.#later(() => over(reply));
      };
      this.#later(() => {
        clock.arrive(() => {
          const context = { deadline: Infinity, signal: abort.signal, metadata: noMetadata };
          method.handle(request, context).then(
            (bytes) => back({ type: "answered", bytes }),
            (error: unknown) => {
              if (error instanceof RequestError) back({ type: "refused", error });
              else reject(new Violation("G3", `${path} throws ${String(error)}`));
            },
          );
        });
      });
    });
  }

  /** Null: nobody is there. */
  open(member: SimMember, path: string, events: StreamEvents): ClientStream | null {
    if (!member.isRunning()) return null;
    const method = member.methods().get(path);
    must(method?.kind === "stream", "harness", () => `no stream method ${path}`);
    return this.#connect(member, method, events);
  }

  #connect(member: SimMember, method: StreamMethod, events: StreamEvents): ClientStream {
    const clock = member.clock();
    const abort = new AbortController();
    const inbox = new RequestQueue();
    let isOpen = true;
    const end = (error: unknown) => {
      if (!isOpen) return;
      isOpen = false;
      this.#forget(member, lost);
      events.ended(error);
    };
    const lost = () => end(null);
    this.#remember(member, lost);
    const sink = this.#sink((bytes) => {
      if (isOpen) events.response(bytes);
    }, events.readMs);
    this.#later(() => {
      clock.arrive(() => {
        const context: CallContext = {
          deadline: Infinity,
          signal: abort.signal,
          metadata: noMetadata,
        };
        method.handle(inbox, sink, context).then(
          () => this.#later(() => end(null)),
          (error: unknown) => this.#later(() => end(error)),
        );
      });
    });
    return {
      send: (request) => this.#later(() => clock.arrive(() => inbox.push(request))),
      close: () => {
        isOpen = false;
        this.#forget(member, lost);
        this.#later(() => clock.arrive(() => abort.abort(gone)));
      },
    };
  }

  /** In order, one after the other, as the client reads. */
  #sink(take: (bytes: Uint8Array) => void, readMs: () => number): ResponseSink {
    const waiting: Uint8Array[] = [];
    let drained: (() => void)[] = [];
    let isReading = false;
    const read = () => {
      const bytes = waiting.shift();
      if (bytes === undefined) {
        isReading = false;
        return;
      }
      take(bytes);
      if (waiting.length < sinkMax) {
        for (const tell of drained) tell();
        drained = [];
      }
      this.#cluster.clock.after(readMs(), read);
    };
    const write = (bytes: Uint8Array) => {
      waiting.push(bytes);
      if (!isReading) {
        isReading = true;
        this.#later(read);
      }
      return waiting.length < sinkMax;
    };
    return {
      write,
      writeParts: (parts) => write(Buffer.concat(parts)),
      drained: () =>
        waiting.length < sinkMax
          ? Promise.resolve()
          : new Promise((resolve) => {
              drained.push(resolve);
            }),
    };
  }

  #remember(member: SimMember, tell: () => void): void {
    const told = this.#onReset.get(member.id);
    if (told === undefined) this.#onReset.set(member.id, new Set([tell]));
    else told.add(tell);
  }

  #forget(member: SimMember, tell: () => void): void {
    this.#onReset.get(member.id)?.delete(tell);
  }

  #later(run: () => void): void {
    this.#cluster.clock.after(0.1 + this.#prng.below(20) / 10, run);
  }
}

/** The requests of one stream; never ends by itself. */
class RequestQueue implements AsyncIterable<Uint8Array> {
  readonly #waiting: Uint8Array[] = [];
  #wanted: ((result: IteratorResult<Uint8Array>) => void) | null = null;

  push(request: Uint8Array): void {
    const wanted = this.#wanted;
    this.#wanted = null;
    if (wanted === null) this.#waiting.push(request);
    else wanted({ done: false, value: request });
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return {
      next: () => {
        const value = this.#waiting.shift();
        if (value !== undefined) return Promise.resolve({ done: false, value });
        return new Promise((resolve) => {
          this.#wanted = resolve;
        });
      },
    };
  }
}

/** Why a call is aborted. A reason of our own: the default one is an exception, made with a stack. */
const gone = "the client is gone";

const noMetadata: ReadonlyMap<string, string> = new Map();

/** The connection was refused: nothing arrived anywhere. */
const refusedByNobody: Reply = { type: "refused", error: RequestError.of("stopped") };
