// The KV service as one sequential machine: what a call answers, and what it changes, seen from a
// view of the state. A view is all that differs between the checkers: the search walks over
// immutable states, the check by revision looks into the log. Naive on purpose and written from
// etcd's documented semantics; test/state/naive-machine.ts copies the whole store per revision and
// cannot serve millions of calls, but the tests hold the two against each other.
//
// Keys are Latin-1 texts of their bytes: the order of such texts is the order of the bytes.
import { compareBytes } from "../../src/base/bytes.ts";
import type { ErrorCode } from "../../src/base/errors.ts";
import type {
  Compare,
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RangeResponse,
  RequestOp,
  ResponseOp,
  TxnRequest,
  TxnResponse,
} from "../../src/proto/etcdserverpb/kv.ts";
import type { KeyValue } from "../../src/proto/mvccpb/kv.ts";
import type { Answer, Call } from "./operation.ts";

export interface View {
  readonly revision: number;
  /** -1 until the first compaction. */
  readonly compactRevision: number;
  find(key: string): KeyValue | undefined;
  /** Live pairs in key order; `end` undefined: to the last key. */
  pairs(first: string, end: string | undefined): KeyValue[];
  /** An older state; `revision` is neither compacted nor in the future. */
  at(revision: number): View;
  hasLease(id: string): boolean;
}

/** One change: the pair as put, or null for a delete. In order; a key occurs once. */
export interface Change {
  readonly key: string;
  readonly pair: KeyValue | null;
}

export type Effect =
  | { readonly type: "refused"; readonly code: ErrorCode }
  | {
      readonly type: "done";
      readonly response: Answer;
      /** None: the revision stays. */
      readonly changes: readonly Change[];
      /** Of a compaction. */
      readonly compacted: number | null;
      /** Leases granted, revoked or expired. */
      readonly leases: readonly { readonly id: string; readonly isAlive: boolean }[];
    };

export function keyText(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString("latin1");
}

const none = new Uint8Array(0);
const nothingElse = { compacted: null, leases: [] };
const header = (revision: number) => ({ clusterId: "0", memberId: "0", revision, raftTerm: 0 });
const refused = (code: ErrorCode): Effect => ({ type: "refused", code });

export function run(view: View, call: Call): Effect {
  switch (call.type) {
    case "range": {
      const code = revisionError(view, call.request.revision);
      if (code !== null) return refused(code);
      const response = new Working(view).range(call.request);
      return { type: "done", response, changes: [], ...nothingElse };
    }
    case "put":
    case "deleteRange":
    case "txn":
      return runWrite(view, call);
    case "compaction": {
      const { revision } = call.request;
      if (revision <= view.compactRevision) return refused("compacted");
      if (revision > view.revision) return refused("futureRev");
      const response = { header: header(view.revision) };
      return { type: "done", response, changes: [], compacted: revision, leases: [] };
    }
    case "leaseGrant": {
      const { ID: id, TTL } = call.request;
      if (id !== "0" && view.hasLease(id)) return refused("leaseExist");
      const response = { header: header(view.revision), ID: id, TTL, error: "" };
      const leases = [{ id, isAlive: true }];
      return { type: "done", response, changes: [], compacted: null, leases };
    }
    case "leaseRevoke": {
      const { ID: id } = call.request;
      return view.hasLease(id) ? leasesEnd(view, [id]) : refused("leaseNotFound");
    }
    case "leaseExpire":
      return leasesEnd(
        view,
        call.request.IDs.filter((id) => view.hasLease(id)),
      );
  }
}

function leasesEnd(view: View, ids: readonly string[]): Effect {
  const working = new Working(view);
  working.remove(view.pairs("", undefined).filter(({ lease }) => ids.includes(lease)));
  const response = { header: header(working.revision()) };
  const leases = ids.map((id) => ({ id, isAlive: false }));
  return { type: "done", response, changes: working.changes(), compacted: null, leases };
}

type Write = Extract<Call, { type: "put" | "deleteRange" | "txn" }>;

function runWrite(view: View, call: Write): Effect {
  const working = new Working(view);
  const done = (response: Answer): Effect => {
    return { type: "done", response, changes: working.changes(), ...nothingElse };
  };
  switch (call.type) {
    case "put": {
      const code = leaseError(view, call.request) ?? keyError(view, call.request);
      return code === null ? done(working.put(call.request)) : refused(code);
    }
    case "deleteRange":
      return done(working.delete(call.request));
    case "txn": {
      const code = txnError(view, call.request);
      if (code !== null) return refused(code);
      const response = working.txn(call.request);
      return done({ ...response, header: header(working.revision()) });
    }
  }
}

function revisionError(view: View, revision: number): ErrorCode | null {
  if (revision > view.revision) return "futureRev";
  return revision > 0 && revision < view.compactRevision ? "compacted" : null;
}

function leaseError(view: View, { lease }: PutRequest): ErrorCode | null {
  return lease !== "0" && !view.hasLease(lease) ? "leaseNotFound" : null;
}

function keyError(view: View, { key, ignoreLease, ignoreValue }: PutRequest): ErrorCode | null {
  if (!ignoreLease && !ignoreValue) return null;
  return view.find(keyText(key)) === undefined ? "keyNotFound" : null;
}

/** Checked up front, over the branches that compares choose, nested ones too. */
function txnError(view: View, txn: TxnRequest): ErrorCode | null {
  for (const { request } of branchOf(view, txn)) {
    let code: ErrorCode | null = null;
    if (request?.$case === "requestRange") code = revisionError(view, request.value.revision);
    if (request?.$case === "requestTxn") code = txnError(view, request.value);
    if (request?.$case === "requestPut") {
      code = keyError(view, request.value) ?? leaseError(view, request.value);
    }
    if (code !== null) return code;
  }
  return null;
}

/** All compares see the state before the transaction. */
function branchOf(view: View, txn: TxnRequest): readonly RequestOp[] {
  return txn.compare.every((compare) => compareHolds(view, compare)) ? txn.success : txn.failure;
}

function pairsIn(view: Pick<View, "find" | "pairs">, key: Uint8Array, end: Uint8Array): KeyValue[] {
  const first = keyText(key);
  if (end.length > 0) return view.pairs(first, boundOf(end));
  const pair = view.find(first);
  return pair === undefined ? [] : [pair];
}

/** One zero byte: no bound. */
export function boundOf(rangeEnd: Uint8Array): string | undefined {
  return rangeEnd.length === 1 && rangeEnd[0] === 0 ? undefined : keyText(rangeEnd);
}

const missingPair = { createRevision: 0, modRevision: 0, version: 0, value: none, lease: "0" };

function compareHolds(view: View, compare: Compare): boolean {
  const found = pairsIn(view, compare.key, compare.rangeEnd);
  if (found.length > 0) return found.every((pair) => satisfies(pair, compare));
  const isValue = compare.target === 3;
  return !isValue && satisfies({ key: compare.key, ...missingPair }, compare);
}

function satisfies(pair: KeyValue, { target, targetUnion, result }: Compare): boolean {
  const order = orderOf(pair, target, targetUnion);
  return [order === 0, order > 0, order < 0, order !== 0][result] ?? false;
}

function orderOf(pair: KeyValue, target: number, operand: Compare["targetUnion"]): number {
  switch (target) {
    case 0:
      return pair.version - (operand?.$case === "version" ? operand.value : 0);
    case 1:
      return pair.createRevision - (operand?.$case === "createRevision" ? operand.value : 0);
    case 2:
      return pair.modRevision - (operand?.$case === "modRevision" ? operand.value : 0);
    case 3:
      return compareBytes(pair.value, operand?.$case === "value" ? operand.value : none);
    default: {
      const lease = BigInt(operand?.$case === "lease" ? operand.value : "0");
      return Number(BigInt(pair.lease) - lease);
    }
  }
}

/** A view and the changes of the one call that runs on it. */
class Working {
  readonly #view: View;
  readonly #changes = new Map<string, KeyValue | null>();

  constructor(view: View) {
    this.#view = view;
  }

  changes(): Change[] {
    return Array.from(this.#changes, ([key, pair]) => ({ key, pair }));
  }

  /** As the call sees it: its own once it has changed something. */
  revision(): number {
    return this.#view.revision + (this.#changes.size > 0 ? 1 : 0);
  }

  find(key: string): KeyValue | undefined {
    const changed = this.#changes.get(key);
    return changed === undefined ? this.#view.find(key) : (changed ?? undefined);
  }

  pairs(first: string, end: string | undefined): KeyValue[] {
    const below = this.#view.pairs(first, end);
    if (this.#changes.size === 0) return below;
    const kept = below.filter(({ key }) => !this.#changes.has(keyText(key)));
    for (const [key, pair] of this.#changes) {
      if (pair !== null && key >= first && (end === undefined || key < end)) kept.push(pair);
    }
    return kept.sort((left, right) => compareBytes(left.key, right.key));
  }

  range(request: RangeRequest): RangeResponse {
    const view = request.revision > 0 ? this.#view.at(request.revision) : this;
    const found = pairsIn(view, request.key, request.rangeEnd);
    const head = { header: header(this.revision()), count: found.length };
    if (request.countOnly) return { ...head, kvs: [], more: false };
    const kept = sorted(
      request,
      found.filter((pair) => passes(request, pair)),
    );
    const kvs = request.limit > 0 ? kept.slice(0, request.limit) : kept;
    const shown = request.keysOnly ? kvs.map((pair) => ({ ...pair, value: none })) : kvs;
    return { ...head, kvs: shown, more: kvs.length < kept.length };
  }

  put(request: PutRequest): Extract<Answer, { prevKv: KeyValue | undefined }> {
    const key = keyText(request.key);
    const before = this.find(key);
    const modRevision = this.#view.revision + 1;
    this.#changes.set(key, {
      key: request.key,
      createRevision: before?.createRevision ?? modRevision,
      modRevision,
      version: (before?.version ?? 0) + 1,
      value: request.ignoreValue ? (before?.value ?? none) : request.value,
      lease: request.ignoreLease ? (before?.lease ?? "0") : request.lease,
    });
    return { header: header(modRevision), prevKv: request.prevKv ? before : undefined };
  }

  delete(request: DeleteRangeRequest) {
    const removed = pairsIn(this, request.key, request.rangeEnd);
    this.remove(removed);
    const prevKvs = request.prevKv ? removed : [];
    return { header: header(this.revision()), deleted: removed.length, prevKvs };
  }

  remove(pairs: readonly KeyValue[]): void {
    for (const pair of pairs) this.#changes.set(keyText(pair.key), null);
  }

  txn(txn: TxnRequest): TxnResponse {
    const branch = branchOf(this.#view, txn);
    const responses = branch.map(({ request }): ResponseOp => {
      switch (request?.$case) {
        case "requestRange":
          return { response: { $case: "responseRange", value: this.range(request.value) } };
        case "requestPut":
          return { response: { $case: "responsePut", value: this.put(request.value) } };
        case "requestDeleteRange":
          return { response: { $case: "responseDeleteRange", value: this.delete(request.value) } };
        case "requestTxn":
          return { response: { $case: "responseTxn", value: this.txn(request.value) } };
        case undefined:
          return { response: undefined };
      }
    });
    return { header: header(0), succeeded: branch === txn.success, responses };
  }
}

function passes(request: RangeRequest, { modRevision, createRevision }: KeyValue): boolean {
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = request;
  return (
    (minModRevision === 0 || modRevision >= minModRevision) &&
    (maxModRevision === 0 || modRevision <= maxModRevision) &&
    (minCreateRevision === 0 || createRevision >= minCreateRevision) &&
    (maxCreateRevision === 0 || createRevision <= maxCreateRevision)
  );
}

/** `pairs` are in key order, and stay so where they sort equal. */
function sorted({ sortTarget, sortOrder }: RangeRequest, pairs: KeyValue[]): KeyValue[] {
  if (sortTarget === 0 && sortOrder !== 2) return pairs;
  const order = (left: KeyValue, right: KeyValue): number => {
    switch (sortTarget) {
      case 1:
        return left.version - right.version;
      case 2:
        return left.createRevision - right.createRevision;
      case 3:
        return left.modRevision - right.modRevision;
      case 4:
        return compareBytes(left.value, right.value);
      case 0:
      default:
        return compareBytes(left.key, right.key);
    }
  };
  const sign = sortOrder === 2 ? -1 : 1;
  return pairs.toSorted((left, right) => sign * order(left, right));
}

/** This is how exactly these changes come about. */
export function makes(effect: Effect, changes: readonly Change[]): boolean {
  return effect.type === "done" && changes.length > 0 && sameAnswer(changes, effect.changes);
}

/** Equal but for who answered: of headers only the revision counts. */
export function sameAnswer(expected: unknown, actual: unknown): boolean {
  if (expected === actual) return true;
  if (expected instanceof Uint8Array) {
    return actual instanceof Uint8Array && compareBytes(expected, actual) === 0;
  }
  if (Array.isArray(expected)) {
    if (!Array.isArray(actual) || actual.length !== expected.length) return false;
    return expected.every((one, i) => sameAnswer(one, actual[i]));
  }
  if (typeof expected !== "object" || typeof actual !== "object") return false;
  if (expected === null || actual === null) return false;
  const left = expected as Readonly<Record<string, unknown>>;
  const right = actual as Readonly<Record<string, unknown>>;
  for (const field in left) {
    if (field === "clusterId" || field === "memberId" || field === "raftTerm") continue;
    if (!sameAnswer(left[field], right[field])) return false;
  }
  return true;
}
