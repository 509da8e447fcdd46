// One watch of one client, through all its reconnects, judged against the committed log after the
// run (I32 to I40): ordered, unique, reliable, atomic, resumable, bookmarkable, filtered exactly,
// with right previous values, and nothing that was never committed.
//
// What the watch must bring is known beforehand: the log's events that its request wants, in order.
// The check holds a position in that list. An event that is not at the position was lost, came
// again, came late, or is no event of this watch at all; the position then moves on, so that one
// fault is one violation.
import type { WatchCreateRequest, WatchResponse } from "../../src/proto/etcdserverpb/watch.ts";
import type { Event, KeyValue } from "../../src/proto/mvccpb/kv.ts";
import type { RevisionEvents } from "../../src/state/outcome.ts";
import { Violation } from "../sim/violation.ts";
import { plainText } from "./operation.ts";
import { boundOf, keyText, sameAnswer } from "./sequential-model.ts";

/** One stream's part of a watch: from its create request until the client lost it. */
export interface WatchConnection {
  /** As the create request had it; 0: from the next revision on. */
  readonly startRevision: number;
  /** For this watch or for the whole stream, in the order received. */
  readonly responses: readonly WatchResponse[];
}

export interface WatchRecord {
  /** Key, end, filters, prevKv, fragment. */
  readonly request: WatchCreateRequest;
  readonly connections: readonly WatchConnection[];
  /** All events up to here must have come by the end of the record; 0: nothing is claimed. */
  readonly completeTo: number;
}

export interface WatchLog {
  /** Every revision, 2 first, without gaps. */
  readonly log: readonly RevisionEvents[];
  /** The highest by the end of the run: what prev_kv may lack. -1: none. */
  readonly compactRevision: number;
}

interface Wanted {
  readonly revision: number;
  readonly event: Event;
  readonly prevKv: KeyValue | undefined;
}

export function checkWatch(record: WatchRecord, log: WatchLog): Violation[] {
  return new WatchCheck(record.request, log).run(record);
}

class WatchCheck {
  readonly #request: WatchCreateRequest;
  readonly #log: WatchLog;
  readonly #wanted: readonly Wanted[];
  /** Place in #wanted, by revision and key. */
  readonly #places = new Map<string, number>();
  readonly #violations: Violation[] = [];
  /** Everything wanted below this place came, or was reported. */
  #place = 0;
  /** Passed over, and not yet seen late. */
  readonly #missing = new Set<number>();
  /** All wanted up to here came: what a client may resume behind. 0: not known. */
  #complete = 0;
  /** A progress response promised that nothing up to here is still to come. */
  #bookmark = 0;
  #isInFragments = false;
  #isOver = false;

  constructor(request: WatchCreateRequest, log: WatchLog) {
    this.#request = request;
    this.#log = log;
    this.#wanted = wantedOf(request, log.log);
    this.#wanted.forEach(({ revision, event }, place) => {
      this.#places.set(placeName(revision, event), place);
    });
  }

  run({ connections, completeTo }: WatchRecord): Violation[] {
    connections.forEach((connection, i) => this.#connection(connection, i === 0));
    if (completeTo > 0 && !this.#isOver) this.#passOver(this.#placeAfter(completeTo));
    for (const place of this.#missing) this.#report("I34", "lost", this.#wanted[place]);
    return this.#violations;
  }

  #connection({ startRevision, responses }: WatchConnection, isFirst: boolean): void {
    this.#isOver = false;
    this.#isInFragments = false;
    this.#bookmark = 0;
    let isCreated = false;
    for (const response of responses) {
      if (this.#isOver) this.#report("I32", "a response after the end of the watch", response);
      if (response.created) {
        if (isCreated) this.#report("I33", "created twice", response);
        isCreated = true;
        this.#start(startRevision || revisionOf(response) + 1, isFirst, response);
      } else if (!isCreated && response.events.length > 0) {
        this.#report("I32", "events before the watch was created", response);
      }
      this.#response(response);
    }
  }

  #start(start: number, isFirst: boolean, response: WatchResponse): void {
    if (response.canceled) return;
    if (!isFirst && this.#complete > 0 && start > this.#complete + 1) {
      this.#report("I36", `gap at reconnect: ${this.#complete} was the last`, { start });
    }
    // Resuming further back asks for events again.
    this.#place = this.#placeAfter(start - 1);
    this.#complete = start - 1;
  }

  #response(response: WatchResponse): void {
    const { events, fragment, canceled, compactRevision, created } = response;
    for (const event of events) this.#event(event, revisionOf(response));
    if (fragment && !this.#request.fragment) {
      this.#report("I35", "a fragment that nobody asked for", response);
    }
    if (events.length > 0) {
      if (!fragment) this.#atomic(response);
      this.#isInFragments = fragment;
    } else if (!canceled && !created) {
      this.#progress(response);
    }
    if (!canceled) return;
    this.#isOver = true;
    if (compactRevision === 0) return;
    const isDue = compactRevision > this.#complete + 1;
    if (!isDue || compactRevision > this.#log.compactRevision) {
      this.#report("I34", "canceled by a compaction that does not concern it", response);
    }
    this.#complete = 0;
  }

  /** After a whole response no revision may be half told. */
  #atomic(response: WatchResponse): void {
    const last = this.#wanted[this.#place - 1]?.revision ?? 0;
    const next = this.#wanted[this.#place]?.revision ?? Infinity;
    if (last === next) {
      this.#report("I35", `split revision ${last}`, response);
      return;
    }
    this.#complete = Math.max(this.#complete, last);
  }

  /** Nothing up to the header's revision is still to come. */
  #progress(response: WatchResponse): void {
    const revision = revisionOf(response);
    if (this.#isInFragments) this.#report("I35", "progress between fragments", response);
    const next = this.#wanted[this.#place];
    if (next !== undefined && next.revision <= revision) {
      this.#report("I37", `progress to ${revision} before ${next.revision} came`, response);
    }
    this.#bookmark = Math.max(this.#bookmark, revision);
    this.#complete = Math.max(this.#complete, revision);
  }

  #event(event: Event, headerRevision: number): void {
    const revision = event.kv?.modRevision ?? 0;
    if (revision > headerRevision) {
      this.#report("I37", `event beyond the header's revision ${headerRevision}`, event);
    }
    const place = this.#places.get(placeName(revision, event));
    if (place === undefined) {
      this.#stranger(event, revision);
      return;
    }
    const { event: expected, prevKv } = this.#wanted[place] as Wanted;
    if (event.type !== expected.type || !sameAnswer(expected.kv, event.kv)) {
      this.#report("I39", `wrong event, not ${plainText(expected)}`, event);
    }
    this.#previous(event, prevKv);
    if (place < this.#place) {
      const isLate = this.#missing.delete(place);
      this.#report(isLate ? "I32" : "I33", isLate ? "reordered" : "duplicated", event);
      return;
    }
    if (revision <= this.#bookmark) {
      this.#report("I37", `event behind the bookmark ${this.#bookmark}`, event);
    }
    this.#passOver(place);
    this.#place = place + 1;
  }

  #stranger(event: Event, revision: number): void {
    const committed = this.#log.log[revision - 2]?.events ?? [];
    const name = placeName(revision, event);
    const isCommitted = committed.some((one) => placeName(revision, one) === name);
    if (isCommitted) this.#report("I38", "wrong filter", event);
    else this.#report("I40", "was never committed", event);
  }

  #previous(event: Event, expected: KeyValue | undefined): void {
    const { kv, prevKv } = event;
    if (prevKv === undefined) {
      const isGone = (kv?.modRevision ?? 0) - 1 < this.#log.compactRevision;
      const isRight = expected === undefined || !this.#request.prevKv || isGone;
      if (!isRight) this.#report("I39", "prev_kv lacks", event);
    } else if (!this.#request.prevKv || !sameAnswer(expected, prevKv)) {
      this.#report("I39", `wrong prev_kv, not ${plainText(expected)}`, event);
    }
  }

  #passOver(place: number): void {
    for (; this.#place < place; this.#place++) this.#missing.add(this.#place);
  }

  /** The first place behind this revision. */
  #placeAfter(revision: number): number {
    let low = 0;
    let high = this.#wanted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#wanted[middle] as Wanted).revision <= revision) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #report(rule: string, what: string, shown: unknown): void {
    this.#violations.push(new Violation(rule, `${what}: ${plainText(shown)}`));
  }
}

function revisionOf({ header }: WatchResponse): number {
  return header?.revision ?? 0;
}

function placeName(revision: number, { kv }: Event): string {
  return `${revision} ${kv === undefined ? "" : keyText(kv.key)}`;
}

/** The log's events that the request wants, each with the pair before it. */
function wantedOf(request: WatchCreateRequest, log: readonly RevisionEvents[]): Wanted[] {
  const first = request.key.length === 0 ? "\0" : keyText(request.key);
  const isSingle = request.rangeEnd.length === 0;
  const end = isSingle ? undefined : boundOf(request.rangeEnd);
  const wanted: Wanted[] = [];
  const pairs = new Map<string, KeyValue>();
  for (const { revision, events } of log) {
    for (const event of events) {
      const { type, kv } = event;
      if (kv === undefined) continue;
      const key = keyText(kv.key);
      const isIn = isSingle ? key === first : key >= first && (end === undefined || key < end);
      if (!isIn) continue;
      if (!request.filters.includes(type === 0 ? 0 : 1)) {
        wanted.push({ revision, event, prevKv: pairs.get(key) });
      }
      if (type === 0) pairs.set(key, kv);
      else pairs.delete(key);
    }
  }
  return wanted;
}
