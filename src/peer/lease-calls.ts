// Lease calls between members, on the connection that they share with raft's messages: the asking
// side numbers its calls and waits for the answers, the other side asks its lease keeper.
//
// Bounded: so many calls at a time, each for so long. A connection that breaks ends them all.
import { RequestError, grpcStatus } from "../base/errors.ts";
import type { GrpcStatus } from "../base/errors.ts";
import type { Clock, Timer } from "../base/clock.ts";
import { Answer, Call } from "../proto/keelson/peer.ts";
import { peerLimits } from "./peer-limits.ts";
import type { LeaseForwarding } from "./transport.ts";

type Outcome = NonNullable<Answer["outcome"]>;

interface Pending {
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: RequestError) => void;
  readonly timer: Timer;
}

/** The asking side of one connection. */
export class LeaseCalls implements LeaseForwarding {
  readonly #clock: Clock;
  readonly #send: (call: Uint8Array) => boolean;
  readonly #pending = new Map<number, Pending>();
  #number = 0;

  /** `send` says whether there is a connection to send on. */
  constructor(clock: Clock, send: (call: Uint8Array) => boolean) {
    this.#clock = clock;
    this.#send = send;
  }

  async renew(IDs: readonly string[]): Promise<readonly number[]> {
    const outcome = await this.#ask({ $case: "renew", value: { IDs: [...IDs] } });
    // An answer to other leases than asked is none.
    if (outcome.$case !== "renewed" || outcome.value.TTLs.length !== IDs.length) {
      throw RequestError.of("timeout");
    }
    return outcome.value.TTLs;
  }

  async remaining(ID: string): Promise<{ ttl: number; grantedTtl: number }> {
    const outcome = await this.#ask({ $case: "remaining", value: { ID } });
    if (outcome.$case !== "remaining") throw RequestError.of("timeout");
    return { ttl: outcome.value.TTL, grantedTtl: outcome.value.grantedTTL };
  }

  /** What is no answer to an open call is dropped: it came too late. */
  answered(bytes: Uint8Array): void {
    const answer = decoded(Answer, bytes);
    const pending = answer === null ? undefined : this.#take(answer.number);
    if (pending === undefined) return;
    const outcome = answer?.outcome;
    if (outcome === undefined) pending.reject(RequestError.of("timeout"));
    else if (outcome.$case === "refused") pending.reject(refusalOf(outcome.value));
    else pending.resolve(outcome);
  }

  /** The connection is gone. */
  fail(): void {
    for (const number of [...this.#pending.keys()]) {
      this.#take(number)?.reject(RequestError.of("timeoutDueToConnectionLost"));
    }
  }

  #ask(request: NonNullable<Call["request"]>): Promise<Outcome> {
    if (this.#pending.size >= peerLimits.callsMax) {
      return Promise.reject(RequestError.of("requestTooManyRequests"));
    }
    const number = this.#nextNumber();
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(peerLimits.callMs, () => {
        this.#take(number)?.reject(RequestError.of("timeoutDueToConnectionLost"));
      });
      this.#pending.set(number, { resolve, reject, timer });
      if (!this.#send(Call.encode({ number, request }).finish())) {
        this.#take(number)?.reject(RequestError.of("timeoutDueToConnectionLost"));
      }
    });
  }

  #nextNumber(): number {
    do this.#number = (this.#number + 1) >>> 0;
    while (this.#pending.has(this.#number));
    return this.#number;
  }

  #take(number: number): Pending | undefined {
    const pending = this.#pending.get(number);
    this.#pending.delete(number);
    pending?.timer.cancel();
    return pending;
  }
}

/** The answering side. Null: what came is no call. */
export async function answerCall(
  bytes: Uint8Array,
  leases: LeaseForwarding,
): Promise<Uint8Array | null> {
  const call = decoded(Call, bytes);
  if (call?.request === undefined) return null;
  const outcome = await outcomeOf(call.request, leases);
  return Answer.encode({ number: call.number, outcome }).finish();
}

async function outcomeOf(
  request: NonNullable<Call["request"]>,
  leases: LeaseForwarding,
): Promise<Outcome> {
  try {
    if (request.$case === "renew") {
      const TTLs = [...(await leases.renew(request.value.IDs))];
      return { $case: "renewed", value: { TTLs } };
    }
    const { ttl, grantedTtl } = await leases.remaining(request.value.ID);
    return { $case: "remaining", value: { TTL: ttl, grantedTTL: grantedTtl } };
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    return { $case: "refused", value: { status: error.status, text: error.message } };
  }
}

/** The other member's own words. */
function refusalOf({ status, text }: { status: number; text: string }): RequestError {
  const isKnown = Object.values(grpcStatus).some((known) => known === status);
  return RequestError.worded(isKnown ? (status as GrpcStatus) : grpcStatus.unknown, text);
}

/** Null: malformed. */
function decoded<T>(type: { decode(bytes: Uint8Array): T }, bytes: Uint8Array): T | null {
  try {
    return type.decode(bytes);
  } catch {
    // The decoder's errors only: it runs no code of ours.
    return null;
  }
}
