// The key space as naively as it can be written: every state it ever had, kept whole. What mvcc
// and its index must agree with.
import { compareBytes } from "../../src/base/bytes.ts";
import type { RangeRequest } from "../../src/proto/etcdserverpb/kv.ts";
import type { KeyValue } from "../../src/proto/mvccpb/kv.ts";

export interface ModelRange {
  readonly kvs: KeyValue[];
  readonly count: number;
  readonly more: boolean;
}

function textOf(key: Uint8Array): string {
  return Buffer.from(key).toString("latin1");
}

function isWithin(key: Uint8Array, first: Uint8Array, rangeEnd: Uint8Array): boolean {
  if (rangeEnd.length === 0) return compareBytes(key, first) === 0;
  const isFrom = compareBytes(key, first) >= 0;
  const isOpen = rangeEnd.length === 1 && rangeEnd[0] === 0;
  return isFrom && (isOpen || compareBytes(key, rangeEnd) < 0);
}

export class MvccModel {
  revision = 1;
  compactRevision = -1;
  // The state after each revision, from 1.
  readonly #states: Map<string, KeyValue>[] = [new Map(), new Map()];
  #open: Map<string, KeyValue> | null = null;

  begin(): void {
    this.#open = new Map(this.#states[this.revision]);
  }

  #writable(): Map<string, KeyValue> {
    if (this.#open === null) throw new Error("no command is open");
    return this.#open;
  }

  put(key: Uint8Array, value: Uint8Array, lease: string): void {
    const state = this.#writable();
    const before = state.get(textOf(key));
    const modRevision = this.revision + 1;
    const createRevision = before?.createRevision ?? modRevision;
    const version = (before?.version ?? 0) + 1;
    state.set(textOf(key), { key, createRevision, modRevision, version, value, lease });
  }

  deleteRange(first: Uint8Array, rangeEnd: Uint8Array): KeyValue[] {
    const state = this.#writable();
    const removed = sorted(state).filter(({ key }) => isWithin(key, first, rangeEnd));
    for (const { key } of removed) state.delete(textOf(key));
    return removed;
  }

  end(hasChanged: boolean): void {
    if (hasChanged) this.#states[++this.revision] = this.#writable();
    this.#open = null;
  }

  /** With the open command's writes when there is one. */
  range(request: RangeRequest): ModelRange {
    const newest = this.#open ?? this.#states[this.revision];
    const state = request.revision > 0 ? this.#states[request.revision] : newest;
    const inRange = sorted(state ?? new Map()).filter(({ key }) =>
      isWithin(key, request.key, request.rangeEnd),
    );
    const count = inRange.length;
    if (request.countOnly) return { kvs: [], count, more: false };
    const passing = inRange.filter(
      (pair) =>
        (request.minModRevision === 0 || pair.modRevision >= request.minModRevision) &&
        (request.maxModRevision === 0 || pair.modRevision <= request.maxModRevision) &&
        (request.minCreateRevision === 0 || pair.createRevision >= request.minCreateRevision) &&
        (request.maxCreateRevision === 0 || pair.createRevision <= request.maxCreateRevision),
    );
    const sign = request.sortOrder === 2 ? -1 : 1;
    const ordered = passing.toSorted(
      (left, right) =>
        sign * compareBy(request.sortTarget, left, right) || compareBytes(left.key, right.key),
    );
    const kvs = request.limit > 0 ? ordered.slice(0, request.limit) : ordered;
    const shown = request.keysOnly
      ? kvs.map((pair) => ({ ...pair, value: new Uint8Array(0) }))
      : kvs;
    return { kvs: shown, count, more: shown.length < passing.length };
  }

  keyCount(): number {
    return this.#states[this.revision]?.size ?? 0;
  }
}

function sorted(state: ReadonlyMap<string, KeyValue>): KeyValue[] {
  return [...state.values()].toSorted((left, right) => compareBytes(left.key, right.key));
}

function compareBy(target: number, left: KeyValue, right: KeyValue): number {
  switch (target) {
    case 1:
      return left.version - right.version;
    case 2:
      return left.createRevision - right.createRevision;
    case 3:
      return left.modRevision - right.modRevision;
    case 4:
      return compareBytes(left.value, right.value);
    default:
      return compareBytes(left.key, right.key);
  }
}

/** A response or model answer in a form that compares by content, whatever holds the bytes. */
export function plain(answer: { kvs: KeyValue[]; count: number; more: boolean }): unknown {
  const kvs = answer.kvs.map((pair) => ({
    ...pair,
    key: textOf(pair.key),
    value: textOf(pair.value),
  }));
  return { kvs, count: answer.count, more: answer.more };
}
