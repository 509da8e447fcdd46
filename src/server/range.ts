// A range outside apply: the same answer as mvcc.range, without holding the loop for long (J8).
//
//   few keys            at once, through index and store
//   newest revision     revision, count, overlay and a LevelDB snapshot are pinned now; pages of
//                       rows are read while commands go on being applied
//   older revision      the index is walked in slices; rows of history do not change, and if
//                       compaction overtakes the walk the answer is: compacted
//
// Memory: the answer, and one page. What sorts behind the limit is let go on the way.
import type { Clock } from "../base/clock.ts";
import type { ErrorCode } from "../base/errors.ts";
import { RangeRequest_SortTarget as SortTarget } from "../proto/etcdserverpb/kv.ts";
import type { RangeRequest, RangeResponse } from "../proto/etcdserverpb/kv.ts";
import type { KeyValue } from "../proto/mvccpb/kv.ts";
import type { Mvcc } from "../state/mvcc.ts";
import { intervalOf, isEmptyInterval, keyAfter } from "../state/mvcc-interval.ts";
import type { Interval } from "../state/mvcc-interval.ts";
import {
  isKeyOrder,
  isPlainRange,
  limitOf,
  passesFilters,
  rangeResponse,
  sortPairs,
} from "../state/mvcc-range.ts";
import { decodeKeyValue, latestRowKey, latestRowPrefix } from "../state/mvcc-row.ts";
import { emptyBytes } from "../base/bytes.ts";
import type { KeyRange } from "../store/backend.ts";
import type { CheckedStore } from "../store/checked-store.ts";

/** Read at once: about 3 µs each. */
const pairsAtOnce = 32;
/** One page or slice: about 2 ms of work. */
const pageLimits = { rowsMax: 500, bytesMax: 512 * 1024 };
/** Pairs kept behind the limit before they are sorted and cut. */
const surplusPairs = 1024;

export interface RangeDeps {
  readonly mvcc: Mvcc;
  readonly store: CheckedStore;
  readonly clock: Clock;
}

export async function readRange(
  deps: RangeDeps,
  request: RangeRequest,
): Promise<RangeResponse | ErrorCode> {
  const { mvcc } = deps;
  const code = mvcc.checkRevision(request.revision);
  if (code !== null) return code;
  if (request.rangeEnd.length === 0) return mvcc.range(request);
  const interval = intervalOf(request.key, request.rangeEnd);
  if (isEmptyInterval(interval)) return mvcc.range(request);
  if (request.revision > 0 && request.revision < mvcc.revision()) {
    return readPast(deps, request, interval);
  }
  const count = mvcc.index().count(interval);
  const wanted = isPlainRange(request) ? Math.min(count, limitOf(request)) : count;
  if (request.countOnly || wanted <= pairsAtOnce) return mvcc.range(request);
  return readNewest(deps, request, interval);
}

async function readNewest(
  { mvcc, store }: RangeDeps,
  request: RangeRequest,
  interval: Interval,
): Promise<RangeResponse> {
  const revision = mvcc.revision();
  const count = mvcc.index().count(interval);
  const answer = new RangeAnswer(request);
  const range = latestRows(interval);
  const view = store.pin();
  try {
    let seen = 0;
    while (seen < count && !answer.isComplete()) {
      const page = await view.rows(range, pageLimits);
      const last = page.at(-1);
      if (last === undefined) return store.damaged(`${count} keys in a range, ${seen} rows`);
      for (const { value } of page) answer.add(decodeKeyValue(value));
      seen += page.length;
      range.first = keyAfter(last.key);
    }
  } finally {
    await view.close();
  }
  return rangeResponse(revision, answer.finish(count));
}

async function readPast(
  { mvcc, clock }: RangeDeps,
  request: RangeRequest,
  interval: Interval,
): Promise<RangeResponse | ErrorCode> {
  const { revision } = request;
  const answer = new RangeAnswer(request);
  let count = 0;
  let first: Uint8Array | null = interval.first;
  for (;;) {
    const end: Uint8Array | null = interval.end;
    let keysLeft = pageLimits.rowsMax;
    let bytesLeft = pageLimits.bytesMax;
    let next: Uint8Array | null = null;
    mvcc.index().scanAt({ first, end }, revision, (key, at) => {
      if (keysLeft-- <= 0 || bytesLeft <= 0) {
        next = key;
        return false;
      }
      if (at === undefined) return true;
      count++;
      if (request.countOnly || answer.isComplete()) return true;
      const pair = mvcc.pairAt(at);
      bytesLeft -= pair.key.length + pair.value.length;
      answer.add(pair);
      return true;
    });
    if (next === null) break;
    first = next;
    await new Promise<void>((resolve) => clock.soon(resolve));
    const code = mvcc.checkRevision(revision);
    if (code !== null) return code;
  }
  const found = request.countOnly ? { kvs: [], more: false, count } : answer.finish(count);
  return rangeResponse(mvcc.revision(), found);
}

function latestRows({ first, end }: Interval): { first: Uint8Array; end: Uint8Array } & KeyRange {
  return {
    first: latestRowKey(first),
    end: end === null ? Uint8Array.of(latestRowPrefix + 1) : latestRowKey(end),
  };
}

/** Takes pairs in key order; gives what the request's options leave of them. */
class RangeAnswer {
  readonly #request: RangeRequest;
  readonly #limit: number;
  readonly #isPlain: boolean;
  readonly #isKeyOrder: boolean;
  #kvs: KeyValue[] = [];
  #isCut = false;

  constructor(request: RangeRequest) {
    this.#request = request;
    this.#limit = limitOf(request);
    this.#isPlain = isPlainRange(request);
    this.#isKeyOrder = isKeyOrder(request);
  }

  /** Further pairs change nothing. */
  isComplete(): boolean {
    if (this.#isPlain) return this.#kvs.length >= this.#limit;
    return this.#isKeyOrder && this.#kvs.length > this.#limit;
  }

  add(pair: KeyValue): void {
    if (this.isComplete() || !passesFilters(this.#request, pair)) return;
    if (this.#request.keysOnly && this.#request.sortTarget !== SortTarget.VALUE) dropValue(pair);
    this.#kvs.push(pair);
    if (this.#kvs.length >= this.#limit + surplusPairs) this.#cut();
  }

  finish(count: number): { kvs: KeyValue[]; more: boolean; count: number } {
    this.#cut();
    const more = this.#isPlain ? count > this.#limit : this.#isCut;
    if (this.#request.keysOnly) for (const pair of this.#kvs) dropValue(pair);
    return { kvs: this.#kvs, more, count };
  }

  #cut(): void {
    sortPairs(this.#request, this.#kvs);
    if (this.#kvs.length <= this.#limit) return;
    this.#kvs.length = this.#limit;
    this.#isCut = true;
  }
}

// With a key of its own, so that the row it came in can go.
function dropValue(pair: KeyValue): void {
  if (pair.value.length === 0) return;
  pair.value = emptyBytes;
  pair.key = pair.key.slice();
}
