// A cluster of one that applies at once: the real machine on a checked store in memory, behind the
// surface that handlers see. What a real node adds (consensus, waiting, forwarding) is switched by
// hand: without a leader nothing is taken.
import { RequestError } from "../../src/base/errors.ts";
import type { ClusterId, LeaseId, MemberId } from "../../src/base/ids.ts";
import { Prng } from "../../src/base/prng.ts";
import type { Codec } from "../../src/api/call.ts";
import type { ApiOptions } from "../../src/api/api-options.ts";
import type { CallContext, MethodTable, ResponseSink } from "../../src/api/method.ts";
import { serviceTable } from "../../src/api/services.ts";
import type { ServingNode, ServingStatus } from "../../src/api/serving-node.ts";
import type { ResponseHeader } from "../../src/proto/etcdserverpb/header.ts";
import type { RangeRequest, RangeResponse } from "../../src/proto/etcdserverpb/kv.ts";
import { openState } from "../../src/server/open-state.ts";
import { readRange } from "../../src/server/range.ts";
import { realClock } from "../../src/server/real-clock.ts";
import { WatchHistory } from "../../src/server/watch-history.ts";
import { WatchHub, watchHubDefaults } from "../../src/server/watch-hub.ts";
import { restoreMachine } from "../../src/state/machine.ts";
import type { Machine } from "../../src/state/machine.ts";
import type { Outcome } from "../../src/state/outcome.ts";
import type { CheckedStore } from "../../src/store/checked-store.ts";
import { MemoryBackend } from "../../src/store/memory-backend.ts";
import { FakeClock } from "../sim/fake-clock.ts";

const clusterId = "14841639068965178418" as ClusterId;
const memberId = "10276657743932975437" as MemberId;
const term = 7;

export const testOptions: ApiOptions = {
  txnOpsMax: 8,
  requestBytesMax: 10_000,
  leaseTtlSecondsMin: 2,
  electionMs: 1000,
  dbQuotaBytes: 2 ** 31,
};

export class OneMember implements ServingNode {
  readonly machine: Machine;
  readonly watchHub: WatchHub;
  readonly clock: FakeClock;
  leader: MemberId | null = memberId;
  /** Commands taken, as they entered the log. */
  readonly log: Uint8Array[] = [];
  barrierCount = 0;
  physicalCount = 0;
  /** Called before each range that `range` answers. */
  beforeRange: () => void = () => {};

  readonly leases = {
    keepAlive: async (id: string): Promise<number> => {
      this.#needLeader();
      return this.machine.leases.get(id as LeaseId)?.ttl ?? 0;
    },
    timeToLive: async (id: string): Promise<{ ttl: number; grantedTtl: number }> => {
      this.#needLeader();
      const lease = this.machine.leases.get(id as LeaseId);
      if (lease === undefined) return { ttl: -1, grantedTtl: 0 };
      return { ttl: lease.ttl - 1, grantedTtl: lease.ttl };
    },
  };

  readonly #store: CheckedStore;

  constructor(deps: {
    machine: Machine;
    store: CheckedStore;
    watchHub: WatchHub;
    clock: FakeClock;
  }) {
    this.#store = deps.store;
    this.machine = deps.machine;
    this.watchHub = deps.watchHub;
    this.clock = deps.clock;
  }

  async propose(command: Uint8Array): Promise<Outcome> {
    if (command.length > testOptions.requestBytesMax) throw RequestError.of("requestTooLarge");
    this.#needLeader();
    this.log.push(command);
    const index = this.machine.appliedId().index + 1;
    const applied = this.machine.apply({ term, index, kind: "normal", data: command });
    if (applied.events !== null) this.watchHub.publish(applied.events);
    return applied.outcome;
  }

  async barrier(): Promise<void> {
    this.barrierCount++;
    this.#needLeader();
  }

  async range(request: RangeRequest): Promise<RangeResponse> {
    this.beforeRange();
    const answer = await readRange(
      { mvcc: this.machine.mvcc, store: this.#store, clock: realClock },
      request,
    );
    if (typeof answer === "string") throw RequestError.of(answer);
    return answer;
  }

  latest(key: Uint8Array): Uint8Array | undefined {
    return this.machine.mvcc.latestRow(key);
  }

  async compactionDone(): Promise<void> {
    this.physicalCount++;
    while (this.machine.mvcc.compactStep(10));
  }

  status(): ServingStatus {
    const applied = this.machine.appliedId().index;
    const { leader } = this;
    return { clusterId, memberId, leader, term, commit: applied, applied, isLearner: false };
  }

  header(revision: number): ResponseHeader {
    return { clusterId, memberId, revision, raftTerm: term };
  }

  #needLeader(): void {
    if (this.leader === null) throw RequestError.of("noLeader");
  }
}

export interface OneMemberCluster {
  readonly node: OneMember;
  readonly methods: MethodTable;
}

export async function startOneMember(): Promise<OneMemberCluster> {
  const opening = await openState(new MemoryBackend());
  if (opening.type !== "open") throw new Error("an empty backend opens");
  const { state } = opening;
  const bootstrap = { id: memberId, name: "one", peerUrls: ["http://a:2380"], isLearner: false };
  const machine = restoreMachine(state, [bootstrap]);
  const clock = new FakeClock();
  const history = new WatchHistory({ reader: state.mvcc, store: state.store });
  const header = { clusterId, memberId, term: () => term };
  const watchHub = new WatchHub({ history, header, clock, seed: 1 }, watchHubDefaults);
  const node = new OneMember({ machine, store: state.store, watchHub, clock });
  const dbBytes = async (): Promise<number> => 4096;
  const methods = serviceTable({ node, clock, random: new Prng(1), dbBytes }, testOptions);
  return { node, methods };
}

export function contextOf(metadata: Readonly<Record<string, string>> = {}): CallContext {
  return {
    deadline: Infinity,
    signal: new AbortController().signal,
    metadata: new Map(Object.entries(metadata)),
  };
}

/** A unary call of whole messages. */
export async function call<Request, Response>(
  { methods }: OneMemberCluster,
  path: string,
  codecs: { request: Codec<Request>; response: Codec<Response> },
  request: Request,
  context = contextOf(),
): Promise<Response> {
  const bytes = codecs.request.encode(request).finish();
  return codecs.response.decode(await callBytes({ methods }, path, bytes, context));
}

export function callBytes(
  { methods }: Pick<OneMemberCluster, "methods">,
  path: string,
  bytes: Uint8Array,
  context = contextOf(),
): Promise<Uint8Array> {
  const method = methods.get(path);
  if (method?.kind !== "unary") throw new Error(`${path} is no unary method`);
  return method.handle(bytes, context);
}

/** A stream call whose requests are known; gives all responses. */
export async function callStream(
  { methods }: Pick<OneMemberCluster, "methods">,
  path: string,
  requests: AsyncIterable<Uint8Array> | readonly Uint8Array[],
  context = contextOf(),
): Promise<Uint8Array[]> {
  const method = methods.get(path);
  if (method?.kind !== "stream") throw new Error(`${path} is no stream method`);
  const responses: Uint8Array[] = [];
  const sink: ResponseSink = {
    write: (message) => responses.push(message) > 0,
    writeParts: () => true,
    drained: () => Promise.resolve(),
  };
  await method.handle(iterate(requests), sink, context);
  return responses;
}

async function* iterate(
  requests: AsyncIterable<Uint8Array> | readonly Uint8Array[],
): AsyncIterable<Uint8Array> {
  yield* requests;
}
