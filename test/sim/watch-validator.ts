// One watch, across all its streams and reconnects, judged against the committed log as its
// responses come (reliability 3.7): ordered, unique, reliable, atomic (I32 to I35), resumable and
// bookmarkable (I36, I37), filtered exactly (I38), previous values right or compacted away (I39),
// nothing that is not committed (I40).
//
// It holds one number, the next revision that was not accounted for. Each response must account for
// everything from there on.
import { compareBytes } from "../../src/base/bytes.ts";
import type { Revision } from "../../src/base/ids.ts";
import type { WatchResponse } from "../../src/proto/etcdserverpb/watch.ts";
import type { Event } from "../../src/proto/mvccpb/kv.ts";
import type { CommittedLog } from "./committed-log.ts";
import { rangeRequest } from "./history.ts";
import { isSame, textOf } from "./same-message.ts";
import { must } from "./violation.ts";

export interface WatchWish {
  readonly key: Uint8Array;
  readonly rangeEnd: Uint8Array;
  readonly wantsPuts: boolean;
  readonly wantsDeletes: boolean;
  readonly wantsPrev: boolean;
}

type Truth = Pick<CommittedLog, "revision" | "byRevision" | "rangeAt" | "compactRevision">;

export class WatchValidator {
  readonly wish: WatchWish;
  readonly #name: string;
  readonly #log: Truth;
  /** Null: from now on, and the stream has not said when that is. */
  #next: Revision | null;
  /** Of a response that comes in pieces. */
  #pieces: Event[] = [];
  eventCount = 0;

  constructor(name: string, log: Truth, wish: WatchWish & { start: Revision | null }) {
    this.#name = name;
    this.#log = log;
    this.wish = wish;
    this.#next = wish.start;
  }

  /** Where to resume; null: at the newest. */
  next(): Revision | null {
    return this.#next;
  }

  /** The stream broke; what came in pieces is void. */
  broken(): void {
    this.#pieces = [];
  }

  response(response: WatchResponse): void {
    const revision = response.header?.revision ?? 0;
    must(revision <= this.#log.revision(), "I40", () => `${this.#name} hears of ${revision}`);
    if (response.created) {
      this.#next ??= revision + 1;
    } else if (response.canceled) {
      this.#canceled(response.compactRevision);
    } else if (response.events.length === 0) {
      this.#accountTo(revision, "I37");
    } else {
      for (const event of response.events) this.#pieces.push(event);
      if (response.fragment) return;
      const events = this.#pieces;
      this.#pieces = [];
      this.#events(events, revision);
    }
  }

  /** Everything there is has come. */
  isComplete(): boolean {
    if (this.#next === null) return true;
    for (let at = this.#next; at <= this.#log.revision(); at++) {
      if (this.#wanted(at).length > 0) return false;
    }
    return true;
  }

  #canceled(compactRevision: Revision): void {
    if (compactRevision === 0) return;
    const next = this.#next ?? Infinity;
    must(
      compactRevision <= this.#log.compactRevision && next < compactRevision,
      "I36",
      () => `${this.#name} at ${next} ends as compacted at ${compactRevision}`,
    );
    this.#next = compactRevision;
  }

  #events(events: readonly Event[], headRevision: Revision): void {
    for (let first = 0; first < events.length;) {
      const revision = events[first]?.kv?.modRevision ?? 0;
      let end = first;
      while (end < events.length && events[end]?.kv?.modRevision === revision) end++;
      must(revision <= headRevision, "I40", () => `${this.#name}: ${revision} before its time`);
      must(
        this.#next !== null && revision >= this.#next,
        "I32",
        () => `${this.#name} gets ${revision} again, expected ${this.#next}`,
      );
      this.#accountTo(revision - 1, "I34");
      this.#revision(revision, events.slice(first, end));
      this.#next = revision + 1;
      first = end;
    }
  }

  #revision(revision: Revision, events: readonly Event[]): void {
    const wanted = this.#wanted(revision);
    const isWanted =
      wanted.length === events.length &&
      wanted.every(({ type, kv }, i) => type === events[i]?.type && isSame(kv, events[i]?.kv));
    must(
      isWanted,
      wanted.length > events.length ? "I35" : "I38",
      () => `${this.#name} at ${revision}: ${textOf(events)}, not ${textOf(wanted)}`,
    );
    this.eventCount += events.length;
    for (const event of events) this.#checkPrevious(revision, event);
  }

  #checkPrevious(revision: Revision, { kv, prevKv }: Event): void {
    if (!this.wish.wantsPrev) {
      must(prevKv === undefined, "I39", () => `${this.#name} gets values it did not ask for`);
      return;
    }
    if (prevKv === undefined && revision <= this.#log.compactRevision) return;
    const key = kv?.key ?? new Uint8Array(0);
    const [before] = this.#log.rangeAt(rangeRequest({ key }), revision - 1).kvs;
    must(
      isSame(prevKv, before),
      "I39",
      () => `${this.#name} at ${revision}: before was ${textOf(before)}, not ${textOf(prevKv)}`,
    );
  }

  /** Nothing that was wanted lies between what came and `revision`. */
  #accountTo(revision: Revision, rule: string): void {
    if (this.#next === null) return;
    for (let at = this.#next; at <= revision; at++) {
      must(this.#wanted(at).length === 0, rule, () => `${this.#name} missed ${at}`);
    }
    this.#next = Math.max(this.#next, revision + 1);
  }

  #wanted(revision: Revision): Event[] {
    const events = this.#log.byRevision[revision]?.events ?? [];
    const { wantsPuts, wantsDeletes } = this.wish;
    return events.filter(
      ({ type, kv }) =>
        (type === 0 ? wantsPuts : wantsDeletes) && kv !== undefined && isIn(kv.key, this.wish),
    );
  }
}

function isIn(key: Uint8Array, { key: first, rangeEnd: end }: WatchWish): boolean {
  if (end.length === 0) return compareBytes(key, first) === 0;
  const isUnbounded = end.length === 1 && end[0] === 0;
  return compareBytes(first, key) <= 0 && (isUnbounded || compareBytes(key, end) < 0);
}
