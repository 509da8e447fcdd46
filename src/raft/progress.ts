// What a leader knows of one follower, and how it sends to it. It decides nothing about commit.
//
//             ack                          probe: one append at a time, to find where logs agree
//   probe ----------> replicate            replicate: a pipeline, bounded by count and bytes
//     ^                   |
//     +---- rejection ----+
//
// Invariant: 0 <= match < next <= last + 1. What is in flight is empty whenever the state changes,
// and freed by acknowledgements, so nothing leaks.
import { assert } from "../base/assert.ts";
import type { Index, MemberId, Term } from "../base/ids.ts";
import { entryBytes } from "./codec.ts";
import type { Entry } from "./entry.ts";

/** Appends without an acknowledgement, oldest first. */
export class Inflight {
  readonly #countMax: number;
  readonly #bytesMax: number;
  /** Parallel: the last index of each append, and its bytes of entries. */
  #lasts: Index[] = [];
  #sizes: number[] = [];
  #bytes = 0;

  constructor(countMax: number, bytesMax: number) {
    this.#countMax = countMax;
    this.#bytesMax = bytesMax;
  }

  count(): number {
    return this.#lasts.length;
  }

  bytes(): number {
    return this.#bytes;
  }

  isFull(): boolean {
    return this.#lasts.length >= this.#countMax || this.#bytes >= this.#bytesMax;
  }

  add(last: Index, bytes: number): void {
    assert(!this.isFull(), "more in flight than allowed");
    assert(last > (this.#lasts.at(-1) ?? 0), "appends in flight out of order");
    this.#lasts.push(last);
    this.#sizes.push(bytes);
    this.#bytes += bytes;
  }

  /** The follower has everything up to `match`. */
  freeTo(match: Index): void {
    let count = 0;
    while (count < this.#lasts.length && (this.#lasts[count] as Index) <= match) {
      this.#bytes -= this.#sizes[count] as number;
      count++;
    }
    if (count === 0) return;
    this.#lasts.splice(0, count);
    this.#sizes.splice(0, count);
  }

  clear(): void {
    this.#lasts = [];
    this.#sizes = [];
    this.#bytes = 0;
  }
}

export type ProgressState = "probe" | "replicate";

export interface Progress {
  readonly member: MemberId;
  state: ProgressState;
  /** Highest index known durable on the follower, as in the leader's log. */
  match: Index;
  /** Index of the next entry to send. */
  next: Index;
  /** A probe is out; the next one waits for an answer or a heartbeat's. Always false in replicate. */
  probeSent: boolean;
  readonly inflight: Inflight;
  /** Commit index last sent with an append. */
  commitSent: Index;
  /** Tick of the last append sent. */
  sentTick: number;
  /** Send an append though there is nothing new: its answer shows whether anything was lost. */
  prod: boolean;
  /** Entries were asked from disk for this follower and did not come yet. */
  isLoading: boolean;
  /** Entries older than the tail, read from disk: from next on, or none. */
  loaded: readonly Entry[];
  /** Term of the entry before next where only the disk knew it; null: not read. */
  previousTerm: Term | null;
  /** Tick of the last reply to a message of this term. */
  contactTick: number;
  /** Highest confirmation round answered in this term; 0: none. */
  roundAcked: number;
}

export function newProgress(
  member: MemberId,
  at: { last: Index; tick: number },
  limits: { readonly inflightCountMax: number; readonly inflightBytesMax: number },
): Progress {
  return {
    member,
    state: "probe",
    match: 0,
    next: at.last + 1,
    probeSent: false,
    inflight: new Inflight(limits.inflightCountMax, limits.inflightBytesMax),
    commitSent: 0,
    sentTick: at.tick,
    prod: false,
    isLoading: false,
    loaded: [],
    previousTerm: null,
    contactTick: at.tick,
    roundAcked: 0,
  };
}

/** What was read from disk for another place is of no use at this one. */
function moveNext(progress: Progress, next: Index): void {
  progress.next = next;
  progress.loaded = [];
  progress.previousTerm = null;
}

/** `first`: next, or the entry before it. */
export function keepLoaded(progress: Progress, first: Index, entries: readonly Entry[]): void {
  if (first === progress.next) {
    progress.loaded = entries;
  } else if (first === progress.next - 1) {
    progress.previousTerm = entries[0]?.term ?? null;
    progress.loaded = entries.slice(1);
  }
}

/** Entries up to `last` are on their way, and are believed to arrive. */
export function noteSent(progress: Progress, entries: readonly Entry[]): void {
  const last = entries.at(-1);
  assert(last !== undefined && progress.state === "replicate", "nothing was sent ahead");
  let bytes = 0;
  for (const entry of entries) bytes += entryBytes(entry);
  progress.inflight.add(last.index, bytes);
  moveNext(progress, last.index + 1);
  progress.previousTerm = last.term;
}

/** Looks for where the logs agree, from `next` on. */
export function becomeProbe(progress: Progress, next: Index): void {
  assert(next > progress.match, "would send again what the follower has");
  progress.state = "probe";
  progress.probeSent = false;
  progress.prod = false;
  moveNext(progress, next);
  progress.inflight.clear();
}

function becomeReplicate(progress: Progress): void {
  progress.state = "replicate";
  progress.probeSent = false;
  if (progress.next !== progress.match + 1) moveNext(progress, progress.match + 1);
  progress.inflight.clear();
}

/** The follower acknowledged `match`. Returns whether that is more than was known. */
export function maybeAdvance(progress: Progress, match: Index): boolean {
  const isNews = match > progress.match;
  if (isNews) {
    progress.match = match;
    if (progress.next <= match) moveNext(progress, match + 1);
    progress.inflight.freeTo(match);
  }
  // An old acknowledgement, from below match, answers no probe.
  if (progress.state === "probe" && match >= progress.match) becomeReplicate(progress);
  return isNews;
}
