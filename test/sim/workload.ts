// The clients of a run: about twenty calls in each simulated second, of every service, each to a
// member of the client's choice. It only draws, calls and records; history.ts, lease-validator.ts
// and the register search judge.
import { Prng } from "../../src/base/prng.ts";
import {
  CompactionRequest,
  CompactionResponse,
  Compare,
  Compare_CompareResult,
  Compare_CompareTarget,
  DeleteRangeRequest,
  DeleteRangeResponse,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  TxnRequest,
  TxnResponse,
} from "../../src/proto/etcdserverpb/kv.ts";
import {
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseKeepAliveRequest,
  LeaseKeepAliveResponse,
  LeaseRevokeRequest,
  LeaseTimeToLiveRequest,
  LeaseTimeToLiveResponse,
} from "../../src/proto/etcdserverpb/lease.ts";
import type { ClientLink, Reply } from "./client-link.ts";
import type { SimCluster } from "./cluster.ts";
import { textOfBytes } from "./same-message.ts";
import type { SimMember } from "./sim-member.ts";
import type { CommittedLog } from "./committed-log.ts";
import { isCertain, rangeRequest } from "./history.ts";
import type { Fate, History, KvAnswer, KvCall } from "./history.ts";
import type { LeaseValidator } from "./lease-validator.ts";
import type { RegisterCall, RegisterInput, RegisterOutput } from "./register.ts";
import { bytesOf, Requests } from "./requests.ts";
import type { WatchClients } from "./watch-client.ts";

interface WorkloadDeps {
  readonly cluster: SimCluster;
  readonly clients: ClientLink;
  readonly log: CommittedLog;
  readonly history: History;
  readonly leases: LeaseValidator;
  readonly watches: WatchClients;
  /** A check failed in a client's hands. */
  readonly failed: (error: unknown) => void;
}

const gapMs = 48;
const watchesMax = 6;
const registerCount = 2;

export class Workload {
  readonly #deps: WorkloadDeps;
  readonly #prng: Prng;
  readonly #requests: Requests;
  readonly #leaseIds: string[] = [];
  readonly #registers: RegisterCall[][] = Array.from({ length: registerCount }, () => []);
  readonly #registerValues: string[] = Array.from({ length: registerCount }, () => "");
  #isOver = false;
  #watchCount = 0;
  operationCount = 0;
  pendingCount = 0;

  constructor(deps: WorkloadDeps, options: { seed: number; valueBytesMax: number }) {
    this.#deps = deps;
    this.#prng = new Prng(options.seed, 102);
    this.#requests = new Requests(this.#prng, options);
  }

  /** The next call, and the ones after it. */
  begin(): void {
    const delayMs = -Math.log(1 - this.#prng.uint32() / 0x100000000) * gapMs;
    this.#deps.cluster.clock.after(delayMs, () => {
      if (this.#isOver) return;
      this.#start();
      this.begin();
    });
  }

  /** No new calls; those under way go on. */
  end(): void {
    this.#isOver = true;
  }

  registers(): readonly (readonly RegisterCall[])[] {
    return this.#registers;
  }

  /** Puts through this member until one succeeds; a refusal is one to try again after. */
  async proof(member: SimMember): Promise<void> {
    for (;;) {
      const request = PutRequest.fromPartial({ key: bytesOf("k0"), value: this.#requests.value() });
      const { type } = await this.#kv(member, { kind: "put", request }, 10_000);
      if (type === "answered") return;
      await new Promise<void>((resolve) => {
        this.#deps.cluster.clock.after(500, resolve);
      });
    }
  }

  #start(): void {
    this.operationCount += 1;
    this.pendingCount += 1;
    const call = this.#one().finally(() => {
      this.pendingCount -= 1;
    });
    call.catch((error: unknown) => this.#deps.failed(error));
  }

  async #one(): Promise<void> {
    const prng = this.#prng;
    const member = prng.pick(this.#deps.cluster.members);
    const choice = prng.below(100);
    if (choice < 14) return this.#register(member);
    if (choice < 18) return this.#grant(member);
    if (choice < 28) return this.#keepAlive(member);
    if (choice < 29) return this.#revoke(member);
    if (choice < 31) return this.#timeToLive(member);
    if (choice < 33 && this.#watchCount < watchesMax) {
      this.#watchCount += 1;
      return this.#deps.watches.add();
    }
    const { log } = this.#deps;
    const call = this.#requests.draw({
      revision: log.revision(),
      compactRevision: log.compactRevision,
      leases: this.#leaseIds,
    });
    await this.#kv(member, call, this.#timeoutMs());
  }

  async #kv(member: SimMember, call: KvCall, timeoutMs: number): Promise<Fate> {
    const { history, clients } = this.#deps;
    const operation = history.begin(call);
    const [path, bytes] = encoded(call);
    const reply = await clients.call(member, `/etcdserverpb.KV/${path}`, bytes, { timeoutMs });
    const fate = fateOf(call, reply);
    history.end(operation, fate);
    return fate;
  }

  /** Some give up early. */
  #timeoutMs(): number {
    return this.#prng.chance(0.1) ? this.#prng.between(5, 500) : 8000;
  }

  async #grant(member: SimMember): Promise<void> {
    const ttl = this.#prng.between(1, 5);
    const calledAt = this.#deps.cluster.clock.now();
    const request = LeaseGrantRequest.encode({ ID: "0", TTL: ttl }).finish();
    const reply = await this.#lease(member, "LeaseGrant", request);
    if (reply.type !== "answered") return;
    const { ID, TTL } = LeaseGrantResponse.decode(reply.bytes);
    this.#deps.leases.granted(ID, { calledAt, ttlSeconds: TTL });
    this.#leaseIds.push(ID);
  }

  async #keepAlive(member: SimMember): Promise<void> {
    const ID = this.#someLease();
    if (ID === null) return;
    const calledAt = this.#deps.cluster.clock.now();
    const TTL = await this.#keepAliveOnce(member, ID);
    if (TTL === null) return;
    if (TTL > 0) this.#deps.leases.renewed(ID, { calledAt, ttlSeconds: TTL });
    else this.#deps.leases.calledGone(ID);
  }

  /** Over a stream of its own; null: no answer. */
  #keepAliveOnce(member: SimMember, ID: string): Promise<number | null> {
    const { clients, cluster } = this.#deps;
    return new Promise((resolve) => {
      const stream = clients.open(member, "/etcdserverpb.Lease/LeaseKeepAlive", {
        response: (bytes) => over(LeaseKeepAliveResponse.decode(bytes).TTL),
        ended: () => over(null),
        readMs: () => 0.1,
      });
      const timer = cluster.clock.after(8000, () => over(null));
      const over = (ttl: number | null) => {
        timer.cancel();
        stream?.close();
        resolve(ttl);
      };
      if (stream === null) return over(null);
      stream.send(LeaseKeepAliveRequest.encode({ ID }).finish());
    });
  }

  async #revoke(member: SimMember): Promise<void> {
    const ID = this.#someLease();
    if (ID === null) return;
    const reply = await this.#lease(
      member,
      "LeaseRevoke",
      LeaseRevokeRequest.encode({ ID }).finish(),
    );
    if (reply.type === "answered") this.#deps.leases.calledGone(ID);
  }

  async #timeToLive(member: SimMember): Promise<void> {
    const ID = this.#someLease();
    if (ID === null) return;
    const request = LeaseTimeToLiveRequest.encode({ ID, keys: true }).finish();
    const reply = await this.#lease(member, "LeaseTimeToLive", request);
    if (reply.type !== "answered") return;
    const { TTL } = LeaseTimeToLiveResponse.decode(reply.bytes);
    if (TTL < 0) this.#deps.leases.calledGone(ID);
  }

  #lease(member: SimMember, method: string, request: Uint8Array): Promise<Reply> {
    const limits = { timeoutMs: this.#timeoutMs() };
    return this.#deps.clients.call(member, `/etcdserverpb.Lease/${method}`, request, limits);
  }

  #someLease(): string | null {
    return this.#leaseIds.length === 0 ? null : this.#prng.pick(this.#leaseIds.slice(-4));
  }

  async #register(member: SimMember): Promise<void> {
    const prng = this.#prng;
    const which = prng.below(registerCount);
    const calls = this.#registers[which] as RegisterCall[];
    // Before all keys of the other calls, whose ranges may be without an end.
    const key = bytesOf(`a${which}`);
    const input = this.#registerInput(which);
    const { clock } = this.#deps.cluster;
    const calledAt = clock.now();
    const fate = await this.#kv(member, registerCall(key, input), this.#timeoutMs());
    if (fate.type === "refused") return;
    const output = fate.type === "answered" ? registerOutput(fate.answer) : null;
    const returnedAt = output === null ? Infinity : clock.now();
    if (output?.type === "value" && output.value !== null) {
      this.#registerValues[which] = output.value;
    }
    calls.push({ calledAt, returnedAt, input, output });
  }

  #registerInput(which: number): RegisterInput {
    const choice = this.#prng.below(10);
    if (choice < 4) return { type: "read" };
    const value = textOfBytes(this.#requests.value());
    if (choice < 7) return { type: "write", value };
    return { type: "swap", from: this.#registerValues[which] ?? "", to: value };
  }
}

function registerCall(key: Uint8Array, input: RegisterInput): KvCall {
  switch (input.type) {
    case "read":
      return { kind: "range", request: rangeRequest({ key }) };
    case "write":
      return {
        kind: "put",
        request: PutRequest.fromPartial({ key, value: bytesOf(input.value) }),
      };
    case "swap": {
      const put = PutRequest.fromPartial({ key, value: bytesOf(input.to) });
      const compare = Compare.fromPartial({
        key,
        target: Compare_CompareTarget.VALUE,
        result: Compare_CompareResult.EQUAL,
        targetUnion: { $case: "value", value: bytesOf(input.from) },
      });
      const success = [{ request: { $case: "requestPut" as const, value: put } }];
      return { kind: "txn", request: { compare: [compare], success, failure: [] } };
    }
  }
}

function registerOutput(answer: KvAnswer): RegisterOutput {
  switch (answer.kind) {
    case "range": {
      const [found] = answer.response.kvs;
      return { type: "value", value: found === undefined ? null : textOfBytes(found.value) };
    }
    case "txn":
      return { type: "swapped", done: answer.response.succeeded };
    case "put":
    case "deleteRange":
    case "compaction":
      return { type: "written" };
  }
}

function encoded(call: KvCall): [string, Uint8Array] {
  switch (call.kind) {
    case "put":
      return ["Put", PutRequest.encode(call.request).finish()];
    case "deleteRange":
      return ["DeleteRange", DeleteRangeRequest.encode(call.request).finish()];
    case "txn":
      return ["Txn", TxnRequest.encode(call.request).finish()];
    case "range":
      return ["Range", RangeRequest.encode(call.request).finish()];
    case "compaction":
      return ["Compact", CompactionRequest.encode(call.request).finish()];
  }
}

function fateOf(call: KvCall, reply: Reply): Fate {
  if (reply.type === "unknown") return reply;
  if (reply.type === "refused") {
    return isCertain(reply.error)
      ? { type: "refused", text: reply.error.message }
      : { type: "unknown" };
  }
  return { type: "answered", answer: decoded(call.kind, reply.bytes) };
}

function decoded(kind: KvCall["kind"], bytes: Uint8Array): KvAnswer {
  switch (kind) {
    case "put":
      return { kind, response: PutResponse.decode(bytes) };
    case "deleteRange":
      return { kind, response: DeleteRangeResponse.decode(bytes) };
    case "txn":
      return { kind, response: TxnResponse.decode(bytes) };
    case "range":
      return { kind, response: RangeResponse.decode(bytes) };
    case "compaction":
      return { kind, response: CompactionResponse.decode(bytes) };
  }
}
