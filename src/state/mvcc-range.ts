// The options of a range request that do not depend on where the keys come from: filters, order,
// limit. Applied to decoded pairs by the synchronous range (mvcc-reader.ts) and by the one that
// iterates (server/range.ts), so that both give the same answer.
//
// The limit comes after the sort, whatever sort_order says; pairs that sort equal stay in key order.
import { compareBytes } from "../base/bytes.ts";
import type { Revision } from "../base/ids.ts";
import {
  RangeRequest_SortOrder as SortOrder,
  RangeRequest_SortTarget as SortTarget,
} from "../proto/etcdserverpb/kv.ts";
import type { RangeRequest, RangeResponse } from "../proto/etcdserverpb/kv.ts";
import type { KeyValue } from "../proto/mvccpb/kv.ts";

/** No filter, and key order: the first pairs found are the answer. */
export function isPlainRange(request: RangeRequest): boolean {
  return !hasFilter(request) && isKeyOrder(request);
}

/** Answers come in the order in which keys are found. */
export function isKeyOrder({ sortOrder, sortTarget }: RangeRequest): boolean {
  return sortTarget === SortTarget.KEY && sortOrder !== SortOrder.DESCEND;
}

function hasFilter(request: RangeRequest): boolean {
  return (
    request.minModRevision !== 0 ||
    request.maxModRevision !== 0 ||
    request.minCreateRevision !== 0 ||
    request.maxCreateRevision !== 0
  );
}

/** Pairs asked for at most; Infinity: no limit. */
export function limitOf(request: RangeRequest): number {
  return request.limit > 0 ? request.limit : Infinity;
}

export function passesFilters(request: RangeRequest, pair: KeyValue): boolean {
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = request;
  return (
    (minModRevision === 0 || pair.modRevision >= minModRevision) &&
    (maxModRevision === 0 || pair.modRevision <= maxModRevision) &&
    (minCreateRevision === 0 || pair.createRevision >= minCreateRevision) &&
    (maxCreateRevision === 0 || pair.createRevision <= maxCreateRevision)
  );
}

/** `pairs` in key order; sorts them in place. */
export function sortPairs(request: RangeRequest, pairs: KeyValue[]): void {
  if (isKeyOrder(request)) return;
  const compare = comparison(request.sortTarget);
  const descending = request.sortOrder === SortOrder.DESCEND;
  pairs.sort(descending ? (left, right) => compare(right, left) : compare);
}

function comparison(target: SortTarget): (left: KeyValue, right: KeyValue) => number {
  switch (target) {
    case SortTarget.KEY:
      return (left, right) => compareBytes(left.key, right.key);
    case SortTarget.VERSION:
      return (left, right) => left.version - right.version;
    case SortTarget.CREATE:
      return (left, right) => left.createRevision - right.createRevision;
    case SortTarget.MOD:
      return (left, right) => left.modRevision - right.modRevision;
    case SortTarget.VALUE:
      return (left, right) => compareBytes(left.value, right.value);
  }
}

/** The header has only the store's revision; the edge fills in the rest. */
export function rangeResponse(
  revision: Revision,
  found: { kvs: KeyValue[]; more: boolean; count: number },
): RangeResponse {
  const header = { clusterId: "0", memberId: "0", revision, raftTerm: 0 };
  return { header, ...found };
}
