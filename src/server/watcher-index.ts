// Which watchers want a key: exact keys by hash, intervals by an augmented treap. Watchers with
// the same key or the same interval share one place, so that 10,000 watchers of one prefix cost
// one visit. Knows nothing of revisions, streams or states.
//
// Treap: search tree by (key, end), heap by a pseudo-random priority, so depth stays O(log n)
// whatever the order of arrival. `endMost` is the greatest end in a subtree: a subtree whose ends
// are all at or below the key holds no hit and is not entered. A visit costs O(log n) for a miss
// and at most O(log n) for each interval hit; prefixes, which nest, cost about log n + hits.
import { assert } from "../base/assert.ts";
import { compareBytes } from "../base/bytes.ts";
import { Prng } from "../base/prng.ts";

/** What is watched: `end` undefined: exactly `key`; null: everything from `key` on; otherwise the
 * half-open [key, end), never empty. */
export interface WatchedKeys {
  readonly key: Uint8Array;
  readonly end: Uint8Array | null | undefined;
}

interface Interval<W> {
  readonly key: Uint8Array;
  readonly end: Uint8Array | null;
  readonly watchers: Set<W>;
  readonly priority: number;
  left: Interval<W> | null;
  right: Interval<W> | null;
  /** Greatest end in this subtree; null: unbounded. */
  endMost: Uint8Array | null;
}

export class WatcherIndex<W extends WatchedKeys> {
  // Keyed by the key's bytes as latin1: a bijection, used for identity only, never for order.
  readonly #exact = new Map<string, Set<W>>();
  readonly #priorities = new Prng(0x57a7c4);
  #root: Interval<W> | null = null;
  #size = 0;

  size(): number {
    return this.#size;
  }

  add(watcher: W): void {
    this.#size += 1;
    if (watcher.end === undefined) {
      const name = nameOf(watcher.key);
      const watchers = this.#exact.get(name);
      if (watchers === undefined) this.#exact.set(name, new Set([watcher]));
      else watchers.add(watcher);
      return;
    }
    const place = find(this.#root, watcher.key, watcher.end);
    if (place !== null) {
      place.watchers.add(watcher);
      return;
    }
    this.#root = insert(this.#root, {
      key: watcher.key,
      end: watcher.end,
      watchers: new Set([watcher]),
      priority: this.#priorities.uint32(),
      left: null,
      right: null,
      endMost: watcher.end,
    });
  }

  /** The watcher must be in the index. */
  remove(watcher: W): void {
    this.#size -= 1;
    if (watcher.end === undefined) {
      const name = nameOf(watcher.key);
      const watchers = this.#exact.get(name);
      assert(watchers !== undefined, "no watcher of this key is in the index");
      assert(watchers.delete(watcher), "the watcher is not in the index");
      if (watchers.size === 0) this.#exact.delete(name);
      return;
    }
    const place = find(this.#root, watcher.key, watcher.end);
    assert(place !== null, "no watcher of this interval is in the index");
    assert(place.watchers.delete(watcher), "the watcher is not in the index");
    if (place.watchers.size === 0) this.#root = removeInterval(this.#root, place);
  }

  /** Calls `visit` once for each watcher whose keys hold `key`. `visit` must not change the index. */
  visit(key: Uint8Array, visit: (watcher: W) => void): void {
    if (this.#exact.size > 0) {
      const watchers = this.#exact.get(nameOf(key));
      if (watchers !== undefined) for (const watcher of watchers) visit(watcher);
    }
    stab(this.#root, key, visit);
  }
}

function nameOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString("latin1");
}

function compareEnds(left: Uint8Array | null, right: Uint8Array | null): number {
  if (left === null) return right === null ? 0 : 1;
  return right === null ? -1 : compareBytes(left, right);
}

function compareIntervals(
  left: { readonly key: Uint8Array; readonly end: Uint8Array | null },
  right: { readonly key: Uint8Array; readonly end: Uint8Array | null },
): number {
  return compareBytes(left.key, right.key) || compareEnds(left.end, right.end);
}

function find<W>(
  root: Interval<W> | null,
  key: Uint8Array,
  end: Uint8Array | null,
): Interval<W> | null {
  const wanted = { key, end };
  let at = root;
  while (at !== null) {
    const order = compareIntervals(wanted, at);
    if (order === 0) return at;
    at = order < 0 ? at.left : at.right;
  }
  return null;
}

function stab<W>(at: Interval<W> | null, key: Uint8Array, visit: (watcher: W) => void): void {
  if (at === null) return;
  if (at.endMost !== null && compareBytes(at.endMost, key) <= 0) return;
  stab(at.left, key, visit);
  if (compareBytes(at.key, key) > 0) return;
  if (at.end === null || compareBytes(at.end, key) > 0) {
    for (const watcher of at.watchers) visit(watcher);
  }
  stab(at.right, key, visit);
}

function measure<W>(at: Interval<W>): void {
  let endMost = at.end;
  if (at.left !== null && compareEnds(at.left.endMost, endMost) > 0) endMost = at.left.endMost;
  if (at.right !== null && compareEnds(at.right.endMost, endMost) > 0) endMost = at.right.endMost;
  at.endMost = endMost;
}

function insert<W>(at: Interval<W> | null, added: Interval<W>): Interval<W> {
  if (at === null) return added;
  if (added.priority > at.priority) {
    [added.left, added.right] = split(at, added);
    measure(added);
    return added;
  }
  if (compareIntervals(added, at) < 0) at.left = insert(at.left, added);
  else at.right = insert(at.right, added);
  measure(at);
  return at;
}

/** All below `pivot`, and all above it. */
function split<W>(
  at: Interval<W> | null,
  pivot: Interval<W>,
): [Interval<W> | null, Interval<W> | null] {
  if (at === null) return [null, null];
  if (compareIntervals(at, pivot) < 0) {
    const [below, above] = split(at.right, pivot);
    at.right = below;
    measure(at);
    return [at, above];
  }
  const [below, above] = split(at.left, pivot);
  at.left = above;
  measure(at);
  return [below, at];
}

function removeInterval<W>(at: Interval<W> | null, removed: Interval<W>): Interval<W> | null {
  assert(at !== null, "an interval of the index lost its place");
  const order = compareIntervals(removed, at);
  if (order === 0) return merge(at.left, at.right);
  if (order < 0) at.left = removeInterval(at.left, removed);
  else at.right = removeInterval(at.right, removed);
  measure(at);
  return at;
}

/** Every interval of `left` sorts below every one of `right`. */
function merge<W>(left: Interval<W> | null, right: Interval<W> | null): Interval<W> | null {
  if (left === null) return right;
  if (right === null) return left;
  if (left.priority > right.priority) {
    left.right = merge(left.right, right);
    measure(left);
    return left;
  }
  right.left = merge(left, right.left);
  measure(right);
  return right;
}
