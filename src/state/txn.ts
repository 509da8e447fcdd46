// Transactions: which branch runs, whether it may run, and running it.
//
// Three steps, in this order, because a transaction is all or nothing and every member must come
// to the same answer:
//   plan    all compares, nested ones included, against the state before any operation
//   check   what could fail in the branches taken, before anything is written: leases, keys that
//           ignore_value and ignore_lease need, revisions that ranges ask for
//   run     in order, ranges seeing the writes before them; nothing here can fail
// Shape (limits, duplicate keys, sort options) was validated before the command entered the log.
import { assert } from "../base/assert.ts";
import { compareBytes, emptyBytes } from "../base/bytes.ts";
import type { ErrorCode } from "../base/errors.ts";
import {
  Compare_CompareResult,
  Compare_CompareTarget,
  RangeRequest,
} from "../proto/etcdserverpb/kv.ts";
import type {
  Compare,
  RequestOp,
  ResponseOp,
  TxnRequest,
  TxnResponse,
} from "../proto/etcdserverpb/kv.ts";
import type { KeyValue } from "../proto/mvccpb/kv.ts";
import type { LeaseId } from "../base/ids.ts";
import type { Leases } from "./lease.ts";
import type { Mvcc } from "./mvcc.ts";
import { revisionHeader } from "./write.ts";
import type { Writer } from "./write.ts";

/** Reads of the state before the transaction. */
export type StateView = Pick<Mvcc, "find" | "read" | "range" | "checkRevision">;

/** The branch taken, with one entry in `nested` for each transaction in it, in order. */
export interface TxnPlan {
  readonly succeeded: boolean;
  readonly operations: readonly RequestOp[];
  readonly nested: readonly TxnPlan[];
}

export function planTxn(request: TxnRequest, before: StateView): TxnPlan {
  const succeeded = request.compare.every((compare) => holds(compare, before));
  const operations = succeeded ? request.success : request.failure;
  const nested: TxnPlan[] = [];
  for (const { request: operation } of operations) {
    if (operation?.$case === "requestTxn") nested.push(planTxn(operation.value, before));
  }
  return { succeeded, operations, nested };
}

/** The first thing that forbids the plan; null: it can run to its end. */
export function checkTxn(
  plan: TxnPlan,
  state: { before: StateView; leases: Leases },
): ErrorCode | null {
  let nested = 0;
  for (const { request: operation } of plan.operations) {
    let refused: ErrorCode | null = null;
    switch (operation?.$case) {
      case "requestRange":
        refused = state.before.checkRevision(operation.value.revision);
        break;
      case "requestPut": {
        const { key, lease, ignoreValue, ignoreLease } = operation.value;
        if ((ignoreValue || ignoreLease) && state.before.find(key) === undefined) {
          refused = "keyNotFound";
        } else if (lease !== "0" && !state.leases.has(lease as LeaseId)) {
          refused = "leaseNotFound";
        }
        break;
      }
      case "requestTxn":
        refused = checkTxn(nestedPlan(plan, nested++), state);
        break;
      case "requestDeleteRange":
      case undefined:
        break;
    }
    if (refused !== null) return refused;
  }
  return null;
}

/** The header is filled at the top only; as in etcd, nested transactions have an empty one. */
export function runTxn(plan: TxnPlan, writer: Writer): TxnResponse {
  let nested = 0;
  const responses = plan.operations.map(({ request: operation }): ResponseOp => {
    switch (operation?.$case) {
      case "requestRange":
        return { response: { $case: "responseRange", value: writer.range(operation.value) } };
      case "requestPut":
        return { response: { $case: "responsePut", value: writer.put(operation.value) } };
      case "requestDeleteRange": {
        const value = writer.deleteRange(operation.value);
        return { response: { $case: "responseDeleteRange", value } };
      }
      case "requestTxn": {
        const value = runTxn(nestedPlan(plan, nested++), writer);
        return { response: { $case: "responseTxn", value } };
      }
      case undefined:
        return { response: undefined };
    }
  });
  return { header: revisionHeader(0), succeeded: plan.succeeded, responses };
}

function nestedPlan(plan: TxnPlan, at: number): TxnPlan {
  const nested = plan.nested[at];
  assert(nested !== undefined, "a nested transaction was not planned");
  return nested;
}

/** What compares look at; the value is there when the target is VALUE. */
type Compared = Omit<KeyValue, "key">;

// A ranged compare must hold for every key there is; no keys at all count as one missing key.
function holds(compare: Compare, before: StateView): boolean {
  const isOfValue = compare.target === Compare_CompareTarget.VALUE;
  const found = comparedKeys(compare, before, isOfValue);
  if (found.length > 0) return found.every((key) => keyHolds(compare, key));
  // A missing value is not an empty one: no comparison with it is true, not even NOT_EQUAL.
  return !isOfValue && keyHolds(compare, missingKey);
}

function comparedKeys(
  { key, rangeEnd }: Compare,
  before: StateView,
  isOfValue: boolean,
): readonly Compared[] {
  if (rangeEnd.length > 0) {
    const keysOnly = !isOfValue;
    const range = before.range(RangeRequest.fromPartial({ key, rangeEnd, keysOnly }));
    assert(typeof range !== "string", "the newest revision is always readable");
    return range.kvs;
  }
  if (isOfValue) {
    const pair = before.read(key);
    return pair === undefined ? [] : [pair];
  }
  const meta = before.find(key);
  return meta === undefined ? [] : [{ ...meta, value: emptyBytes }];
}

const missingKey: Compared = {
  createRevision: 0,
  modRevision: 0,
  version: 0,
  value: emptyBytes,
  lease: "0",
};

// As in etcd: an operand of another kind than the target counts as zero, an unknown target as
// equal, and an unknown result as true.
function keyHolds(compare: Compare, kv: Compared): boolean {
  const order = orderOf(compare, kv);
  switch (compare.result) {
    case Compare_CompareResult.EQUAL:
      return order === 0;
    case Compare_CompareResult.NOT_EQUAL:
      return order !== 0;
    case Compare_CompareResult.GREATER:
      return order > 0;
    case Compare_CompareResult.LESS:
      return order < 0;
  }
  return true;
}

function orderOf({ target, targetUnion: operand }: Compare, kv: Compared): number {
  switch (target) {
    case Compare_CompareTarget.VERSION:
      return kv.version - (operand?.$case === "version" ? operand.value : 0);
    case Compare_CompareTarget.CREATE:
      return kv.createRevision - (operand?.$case === "createRevision" ? operand.value : 0);
    case Compare_CompareTarget.MOD:
      return kv.modRevision - (operand?.$case === "modRevision" ? operand.value : 0);
    case Compare_CompareTarget.VALUE:
      return compareBytes(kv.value, operand?.$case === "value" ? operand.value : emptyBytes);
    case Compare_CompareTarget.LEASE: {
      const difference = BigInt(kv.lease) - BigInt(operand?.$case === "lease" ? operand.value : 0);
      return difference === 0n ? 0 : difference < 0n ? -1 : 1;
    }
  }
  return 0;
}
