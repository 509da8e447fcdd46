// What clients did and saw, judged against the committed log: the revision-guided check
// (reliability 3.6.3). Every answer names a revision; so every write has its entry, every read its
// state, and real time must agree with the order of revisions: what begins after an answer came is
// not older than that answer (I23), and a write is newer.
//
// Three fates of a call: answered; refused, which means that nothing of it is or ever will be in
// the log (G3); unknown, which means once or never. Each put carries a value that no other has,
// so that the log can be asked. Stamps are the harness's own.
import { grpcStatus } from "../../src/base/errors.ts";
import type { RequestError } from "../../src/base/errors.ts";
import type { Revision } from "../../src/base/ids.ts";
import type {
  CompactionRequest,
  CompactionResponse,
  DeleteRangeRequest,
  DeleteRangeResponse,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  TxnRequest,
  TxnResponse,
} from "../../src/proto/etcdserverpb/kv.ts";
import type { CommittedLog } from "./committed-log.ts";
import { answerText, isSame, isSameAnswer, textOf, textOfBytes } from "./same-message.ts";
import { must } from "./violation.ts";

export type KvCall =
  | { readonly kind: "put"; readonly request: PutRequest }
  | { readonly kind: "deleteRange"; readonly request: DeleteRangeRequest }
  | { readonly kind: "txn"; readonly request: TxnRequest }
  | { readonly kind: "range"; readonly request: RangeRequest }
  | { readonly kind: "compaction"; readonly request: CompactionRequest };

export type KvAnswer =
  | { readonly kind: "put"; readonly response: PutResponse }
  | { readonly kind: "deleteRange"; readonly response: DeleteRangeResponse }
  | { readonly kind: "txn"; readonly response: TxnResponse }
  | { readonly kind: "range"; readonly response: RangeResponse }
  | { readonly kind: "compaction"; readonly response: CompactionResponse };

export type Fate =
  | { readonly type: "answered"; readonly answer: KvAnswer }
  | { readonly type: "refused"; readonly text: string }
  | { readonly type: "unknown" };

export interface Operation {
  readonly id: number;
  readonly call: KvCall;
  readonly calledAt: number;
  /** Highest revision that an answer had named before the call. */
  readonly floor: Revision;
  returnedAt: number;
  fate: Fate | null;
}

const uncertain: ReadonlySet<number> = new Set([
  grpcStatus.canceled,
  grpcStatus.deadlineExceeded,
  grpcStatus.unknown,
  grpcStatus.internal,
]);

/** Refusals that are proof of nothing done; the rest may have been done. */
export function isCertain({ status, message }: RequestError): boolean {
  if (status !== grpcStatus.unavailable) return !uncertain.has(status);
  return message.endsWith("no leader") || message.endsWith("server stopped");
}

type Truth = Pick<
  CommittedLog,
  "revision" | "byRevision" | "rangeAt" | "txnAt" | "putsOf" | "compactRevision"
>;

export class History {
  readonly operations: Operation[] = [];
  readonly #log: Truth;
  readonly #now: () => number;
  #floor: Revision = 1;

  constructor(log: Truth, now: () => number) {
    this.#log = log;
    this.#now = now;
  }

  begin(call: KvCall): Operation {
    const operation: Operation = {
      id: this.operations.length,
      call,
      calledAt: this.#now(),
      floor: this.#floor,
      returnedAt: Infinity,
      fate: null,
    };
    this.operations.push(operation);
    return operation;
  }

  /** The client learns its fate; what can be judged now is. */
  end(operation: Operation, fate: Fate): void {
    operation.fate = fate;
    if (fate.type === "unknown") return;
    operation.returnedAt = this.#now();
    if (fate.type === "refused") return this.#checkRefusal(operation, fate.text);
    const revision = fate.answer.response.header?.revision ?? 0;
    must(revision <= this.#log.revision(), "I40", () => `${name(operation)}: ${revision} is new`);
    this.#check(operation, fate.answer, revision);
    if (!isLocal(operation.call)) this.#floor = Math.max(this.#floor, revision);
  }

  /** When the log is final: what was refused is not in it, what is unknown is at most once. */
  finish(): void {
    for (const operation of this.operations) {
      const { fate } = operation;
      if (fate?.type === "answered") continue;
      for (const value of valuesOf(operation.call)) {
        const revisions = this.#log.putsOf(value);
        must(
          revisions.length === 0 || fate?.type !== "refused",
          "G3",
          () => `${name(operation)} was refused, but is at revision ${revisions[0]}`,
        );
        must(
          revisions.length <= 1 && (revisions[0] ?? Infinity) > operation.floor,
          "G3",
          () => `${name(operation)} came to be at ${revisions.join()}, begun at ${operation.floor}`,
        );
      }
    }
  }

  #checkRefusal(operation: Operation, text: string): void {
    const { call, floor } = operation;
    if (text.endsWith("future revision")) {
      const asked = call.kind === "range" || call.kind === "compaction" ? call.request.revision : 0;
      must(
        asked === 0 || asked > floor || isLocal(call),
        "I23",
        () => `${asked} is called future, but ${floor} was known`,
      );
    }
    if (text.endsWith("has been compacted") && call.kind === "range") {
      const { revision } = call.request;
      must(
        revision < this.#log.compactRevision,
        "I29",
        () => `${revision} is called compacted, the floor is ${this.#log.compactRevision}`,
      );
    }
  }

  #check(operation: Operation, answer: KvAnswer, revision: Revision): void {
    const { call, floor } = operation;
    must(
      revision >= floor || isLocal(call),
      "I23",
      () => `${name(operation)} answers of revision ${revision}, ${floor} was known before`,
    );
    if (call.kind === "range" && answer.kind === "range") {
      return this.#checkRange(operation, call.request, answer.response);
    }
    if (call.kind === "compaction") {
      const { revision: compacted } = call.request;
      must(compacted <= this.#log.compactRevision, "I29", () => `${name(operation)} did nothing`);
      return;
    }
    if (!isWrite(answer)) return this.#checkIdle(operation, answer, revision);
    must(revision > floor, "I27", () => `${name(operation)} wrote at ${revision}, no new one`);
    this.#checkWrite(operation, answer, revision);
  }

  #checkRange(operation: Operation, request: RangeRequest, response: RangeResponse): void {
    const revision = response.header?.revision ?? 0;
    const expected = this.#log.rangeAt(request, revision);
    must(
      isSameAnswer(response, expected),
      "G2",
      () =>
        `${name(operation)} reads ${textOf(response)} at ${revision}, not ${answerText(expected)}`,
    );
  }

  /** Its entry is at its revision, is what was asked, and brought about what was answered. */
  #checkWrite(operation: Operation, answer: KvAnswer, revision: Revision): void {
    const { call } = operation;
    const committed = this.#log.byRevision[revision];
    const isThere =
      committed?.request?.$case === call.kind && isSame(committed.request.value, call.request);
    must(
      isThere,
      "I22",
      () => `${name(operation)} is acknowledged at ${revision}, another is there`,
    );
    const { outcome } = committed ?? {};
    const expected = outcome !== undefined && "response" in outcome ? outcome.response : null;
    must(
      isSameAnswer(answer.response, expected),
      "I28",
      () => `${name(operation)} answers ${textOf(answer.response)}, not ${answerText(expected)}`,
    );
  }

  /** It changed nothing, so it is a read of the state at its revision. */
  #checkIdle(operation: Operation, answer: KvAnswer, revision: Revision): void {
    const { call } = operation;
    if (call.kind === "txn") {
      const expected = this.#log.txnAt(call.request, revision);
      must(
        isSameAnswer(answer.response, expected),
        "G2",
        () =>
          `${name(operation)} answers ${textOf(answer.response)} at ${revision}: ${answerText(expected)}`,
      );
    }
    if (call.kind !== "deleteRange") return;
    const { key, rangeEnd } = call.request;
    const found = this.#log.rangeAt(rangeRequest({ key, rangeEnd }), revision);
    must(
      found.kvs.length === 0,
      "G2",
      () => `${name(operation)} deletes nothing at ${revision}, where there is something`,
    );
  }
}

/** Answered from one member's own state, as asked. */
function isLocal(call: KvCall): boolean {
  return call.kind === "range" && call.request.serializable;
}

function isWrite(answer: KvAnswer): boolean {
  switch (answer.kind) {
    case "put":
      return true;
    case "deleteRange":
      return answer.response.deleted > 0;
    case "txn":
      return hasWritten(answer.response);
    case "range":
    case "compaction":
      return false;
  }
}

function hasWritten({ responses }: TxnResponse): boolean {
  return responses.some(({ response }) => {
    switch (response?.$case) {
      case "responsePut":
        return true;
      case "responseDeleteRange":
        return response.value.deleted > 0;
      case "responseTxn":
        return hasWritten(response.value);
      case "responseRange":
      case undefined:
        return false;
    }
  });
}

/** Values that only this call puts, if it is done. */
function valuesOf(call: KvCall): string[] {
  if (call.kind === "put") return [textOfBytes(call.request.value)];
  return call.kind === "txn" ? valuesOfTxn(call.request) : [];
}

function valuesOfTxn({ success, failure }: TxnRequest): string[] {
  return [...success, ...failure].flatMap(({ request }) => {
    if (request?.$case === "requestTxn") return valuesOfTxn(request.value);
    return request?.$case === "requestPut" ? [textOfBytes(request.value.value)] : [];
  });
}

function name({ id, call }: Operation): string {
  return `operation ${id} (${call.kind} ${textOf(call.request)})`;
}

export function rangeRequest(asked: Partial<RangeRequest>): RangeRequest {
  return { ...emptyRange, ...asked };
}

const none = new Uint8Array(0);
const emptyRange: RangeRequest = {
  key: none,
  rangeEnd: none,
  limit: 0,
  revision: 0,
  sortOrder: 0,
  sortTarget: 0,
  serializable: false,
  keysOnly: false,
  countOnly: false,
  minModRevision: 0,
  maxModRevision: 0,
  minCreateRevision: 0,
  maxCreateRevision: 0,
};
