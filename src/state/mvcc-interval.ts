// Intervals of user keys, as requests name them: a key and a range end. One place, so that ranges,
// deletes, compares and watches agree on what "\0" and an empty range end mean.
import { compareBytes, emptyBytes } from "../base/bytes.ts";

/** first <= key < end; end null: no upper bound. */
export interface Interval {
  readonly first: Uint8Array;
  readonly end: Uint8Array | null;
}

export const everyKey: Interval = { first: emptyBytes, end: null };

/** Empty range end: the one key. One zero byte: every key from `key` on. Else half-open. */
export function intervalOf(key: Uint8Array, rangeEnd: Uint8Array): Interval {
  if (rangeEnd.length === 0) return { first: key, end: keyAfter(key) };
  if (rangeEnd.length === 1 && rangeEnd[0] === 0) return { first: key, end: null };
  return { first: key, end: rangeEnd };
}

/** The smallest key greater than `key`. */
export function keyAfter(key: Uint8Array): Uint8Array {
  const after = new Uint8Array(key.length + 1);
  after.set(key);
  return after;
}

export function isEmptyInterval({ first, end }: Interval): boolean {
  return end !== null && compareBytes(first, end) >= 0;
}

export function intervalHas({ first, end }: Interval, key: Uint8Array): boolean {
  return compareBytes(first, key) <= 0 && (end === null || compareBytes(key, end) < 0);
}
