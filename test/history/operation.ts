// What clients did and what they were told: the input of every checker. A harness records it from
// outside; nothing in it comes from the clocks or the state of a member.
//
// Stamps order things, they are no time: one counter per harness, so that two are never equal
// (3.6.5). A returned before B was called when A.returned < B.called, and only then is A before B.
//
// Outcomes are three. ok: the response. refused: certainly not applied, with the reason; the
// checkers judge reasons that the state decides ("compacted"), and believe the others ("too many
// requests"). unknown: may have been applied, once, at any moment after the call, or never.
import type { ErrorCode } from "../../src/base/errors.ts";
import { errorTable, RequestError } from "../../src/base/errors.ts";
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
import type {
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseRevokeRequest,
  LeaseRevokeResponse,
} from "../../src/proto/etcdserverpb/lease.ts";
import type { RevisionEvents } from "../../src/state/outcome.ts";

interface Methods {
  range: { request: RangeRequest; response: RangeResponse };
  put: { request: PutRequest; response: PutResponse };
  deleteRange: { request: DeleteRangeRequest; response: DeleteRangeResponse };
  txn: { request: TxnRequest; response: TxnResponse };
  compaction: { request: CompactionRequest; response: CompactionResponse };
  leaseGrant: { request: LeaseGrantRequest; response: LeaseGrantResponse };
  leaseRevoke: { request: LeaseRevokeRequest; response: LeaseRevokeResponse };
  /** What no client asks: leases that passed their time, all at one revision. Always unknown. */
  leaseExpire: { request: { readonly IDs: readonly string[] }; response: LeaseRevokeResponse };
}
export type MethodName = keyof Methods;

/** What a client asked for. */
export type Call = {
  [M in MethodName]: { readonly type: M; readonly request: Methods[M]["request"] };
}[MethodName];

/** What an ok call was told. */
export type Answer = Methods[MethodName]["response"];

export type OperationOutcome =
  | { readonly type: "ok"; readonly response: Answer }
  | { readonly type: "refused"; readonly code: ErrorCode }
  | { readonly type: "unknown" };

export interface Operation {
  /** For reports. */
  readonly client: string;
  readonly call: Call;
  readonly outcome: OperationOutcome;
  /** Stamps. Infinity: it never returned, or its outcome is unknown. */
  readonly called: number;
  readonly returned: number;
}

export interface History {
  readonly operations: readonly Operation[];
  /**
   * Every revision that the cluster committed, 2 first, without gaps: what decides unknown
   * outcomes. The search does not look at it.
   */
  readonly log: readonly RevisionEvents[];
}

/** An operation whose place is known. */
export interface Placed {
  readonly operation: Operation;
  readonly revision: number;
  /** It made this revision. */
  readonly isMaker: boolean;
}

/** An operation under way. Ended at most once; never ended is unknown. */
export interface OpenOperation {
  ok(response: Answer): void;
  refused(code: ErrorCode): void;
  unknown(): void;
}

/** Takes the stamps. */
export class Recorder {
  readonly #operations: { -readonly [F in keyof Operation]: Operation[F] }[] = [];
  #stamp = 0;

  begin(client: string, call: Call): OpenOperation {
    const operation = {
      client,
      call,
      outcome: { type: "unknown" } as OperationOutcome,
      called: ++this.#stamp,
      returned: Infinity,
    };
    this.#operations.push(operation);
    const end = (outcome: OperationOutcome) => {
      operation.outcome = outcome;
      operation.returned = ++this.#stamp;
    };
    return {
      ok: (response) => end({ type: "ok", response }),
      refused: (code) => end({ type: "refused", code }),
      // Infinity stays: it may take effect after the client was told that nobody knows.
      unknown: () => undefined,
    };
  }

  operations(): readonly Operation[] {
    return this.#operations;
  }
}

/** Reasons that the state decides, the same at every member: the checkers judge them. */
export const judgedCodes: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "keyNotFound",
  "leaseNotFound",
  "leaseExist",
  "compacted",
  "futureRev",
]);

/** Reasons given before anything was proposed. */
const unproposedCodes: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "emptyKey",
  "valueProvided",
  "leaseProvided",
  "tooManyOps",
  "duplicateKey",
  "invalidSortOption",
  "noSpace",
  "leaseTTLTooLarge",
  "requestTooLarge",
  "requestTooManyRequests",
]);

const codesByText = new Map(
  [...judgedCodes, ...unproposedCodes].map((code) => [errorTable[code].text as string, code]),
);

/** The reason when the error says that nothing was applied; null: the outcome is unknown. */
export function refusalOf(error: unknown): ErrorCode | null {
  return error instanceof RequestError ? (codesByText.get(error.message) ?? null) : null;
}

/** The store's revision as the answer saw it; a write's own when it wrote. */
export function revisionOf(response: Answer): number {
  return response.header?.revision ?? 0;
}

/** A read of one member's own state, which may be old. */
export function isSerializable({ call }: Operation): boolean {
  return call.type === "range" && call.request.serializable;
}

/**
 * With what the server chose filled in: the id and the TTL of a grant. Null: it binds nobody, since
 * it was refused before it was proposed, or is a read or a nameless grant that nobody got.
 */
export function decided(operation: Operation): Operation | null {
  const { call, outcome } = operation;
  if (outcome.type === "refused") return judgedCodes.has(outcome.code) ? operation : null;
  if (outcome.type === "unknown" && call.type === "range") return null;
  if (call.type !== "leaseGrant") return operation;
  if (outcome.type === "unknown") return call.request.ID === "0" ? null : operation;
  const { response } = outcome;
  if (!("ID" in response)) return operation;
  return { ...operation, call: { ...call, request: { ID: response.ID, TTL: response.TTL } } };
}

/** For reports: who, what, when, and what was answered. */
export function operationText(operation: Operation): string {
  const { client, call, outcome, called, returned } = operation;
  const shown =
    outcome.type === "ok"
      ? plainText(outcome.response)
      : outcome.type === "refused"
        ? outcome.code
        : "?";
  return `${client} [${called}, ${returned}] ${call.type} ${plainText(call.request)} -> ${shown}`;
}

/** Messages as text: bytes as text, defaults left out. */
export function plainText(message: unknown): string {
  return JSON.stringify(message, (_, value: unknown) => {
    if (value instanceof Uint8Array) {
      return value.length === 0 ? undefined : Buffer.from(value).toString("latin1");
    }
    if (isBufferJson(value)) return Buffer.from(value.data).toString("latin1");
    const isDefault = value === 0 || value === "" || value === "0" || value === false;
    return isDefault ? undefined : value;
  });
}

function isBufferJson(value: unknown): value is { type: "Buffer"; data: number[] } {
  return typeof value === "object" && value !== null && "type" in value && value.type === "Buffer";
}
