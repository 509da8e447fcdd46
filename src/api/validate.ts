// What is wrong with a request by its shape alone, in etcd's order and words. Asked before a
// request enters the log, so that apply meets only requests that make sense.
import { RequestError } from "../base/errors.ts";
import { RangeRequest_SortOrder, RangeRequest_SortTarget } from "../proto/etcdserverpb/kv.ts";
import type {
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RequestOp,
  TxnRequest,
} from "../proto/etcdserverpb/kv.ts";
import { checkDuplicateKeys } from "./duplicate-keys.ts";

const sortOrders: ReadonlySet<number> = new Set(Object.values(RangeRequest_SortOrder));
const sortTargets: ReadonlySet<number> = new Set(Object.values(RangeRequest_SortTarget));

export function validateRange(request: RangeRequest): void {
  if (request.key.length === 0) throw RequestError.of("emptyKey");
  if (!sortOrders.has(request.sortOrder) || !sortTargets.has(request.sortTarget)) {
    throw RequestError.of("invalidSortOption");
  }
}

export function validatePut(request: PutRequest): void {
  if (request.key.length === 0) throw RequestError.of("emptyKey");
  if (request.ignoreValue && request.value.length > 0) throw RequestError.of("valueProvided");
  if (request.ignoreLease && request.lease !== "0") throw RequestError.of("leaseProvided");
}

export function validateDeleteRange(request: DeleteRangeRequest): void {
  if (request.key.length === 0) throw RequestError.of("emptyKey");
}

/** Sizes and operations first, duplicate keys last, as etcd. */
export function validateTxn(request: TxnRequest, opsMax: number): void {
  validateOps(request, opsMax);
  checkDuplicateKeys(request.success);
  checkDuplicateKeys(request.failure);
}

// A nested transaction gets what its parent leaves of the budget, so depth times width is bounded.
function validateOps({ compare, success, failure }: TxnRequest, opsMax: number): void {
  const opCount = Math.max(compare.length, success.length, failure.length);
  if (opCount > opsMax) throw RequestError.of("tooManyOps");
  for (const { key } of compare) {
    if (key.length === 0) throw RequestError.of("emptyKey");
  }
  for (const operation of success) validateOp(operation, opsMax - opCount);
  for (const operation of failure) validateOp(operation, opsMax - opCount);
}

function validateOp({ request }: RequestOp, opsMax: number): void {
  switch (request?.$case) {
    case "requestRange":
      return validateRange(request.value);
    case "requestPut":
      return validatePut(request.value);
    case "requestDeleteRange":
      return validateDeleteRange(request.value);
    case "requestTxn":
      return validateOps(request.value, opsMax);
    case undefined:
      throw RequestError.of("keyNotFound");
  }
}
