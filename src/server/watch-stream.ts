// One client stream of watches: its sink, its watchers and what they still have to get. A plain
// place without timers or I/O; watch-hub.ts decides what is sent live, watch-catch-up.ts what is
// re-read. Nothing waits here for room: what does not go into the sink at once is read again from
// history later, so a stream whose client never reads holds numbers and no events, but for the
// rest of one response that had to be split.
import { assert } from "../base/assert.ts";
import type { Revision, WatchId } from "../base/ids.ts";
import { composeResponse, fragmentsOf } from "./watch-encoding.ts";
import type { EncodedEvent, ReadAt } from "./watch-encoding.ts";
import type { WatchedKeys } from "./watcher-index.ts";

/** Where a stream's responses go: bounded by the edge. */
export interface WatchSink {
  /** One WatchResponse in parts to be joined, shared with other streams and never changed.
   * False: full; the owner calls WatchHub.resume when there is room again. */
  write(parts: readonly Uint8Array[]): boolean;
}

export interface Watcher extends WatchedKeys {
  readonly id: WatchId;
  /** The id as the field of a response. */
  readonly idField: Uint8Array;
  readonly stream: WatchStream;
  /** First revision wanted; above the published revision while the watcher waits for the future. */
  readonly start: Revision;
  readonly wantsPuts: boolean;
  readonly wantsDeletes: boolean;
  readonly wantsPrev: boolean;
  readonly wantsProgress: boolean;
  readonly wantsFragments: boolean;
  /** The first revision not yet delivered; counts only while the watcher is catching up. */
  next: Revision;
  /** No event was sent since the last progress tick. */
  isQuiet: boolean;
}

interface UnfinishedResponse {
  readonly header: Uint8Array;
  readonly idField: Uint8Array;
  readonly fragments: Uint8Array[][];
}

export class WatchStream {
  readonly watchers = new Map<WatchId, Watcher>();
  /** The watchers that are catching up, in turn order. */
  readonly catchingUp = new Set<Watcher>();
  /** Watchers to be told the revision, from a progress tick, as soon as there is room. */
  readonly progressDue = new Set<Watcher>();
  /** Watchers created with a start above the published revision; looked through lazily. */
  readonly #waiting = new Set<Watcher>();
  readonly #sink: WatchSink;
  readonly #fragmentBytes: number;
  #nextId = 0;
  #isSinkFull = false;
  /** Fragments of one response that found no room; they hold events, of one response at most. */
  #unfinished: UnfinishedResponse | null = null;
  #isClosed = false;
  #eventsSent = 0;

  constructor(sink: WatchSink, options: { fragmentBytes: number }) {
    this.#sink = sink;
    this.#fragmentBytes = options.fragmentBytes;
  }

  /** To all of its watchers, the rest of an unfinished response included. */
  eventsSent(): number {
    return this.#eventsSent;
  }

  /** Nothing may be sent until `resume`. */
  isFull(): boolean {
    return this.#isSinkFull || this.#unfinished !== null;
  }

  isClosed(): boolean {
    return this.#isClosed;
  }

  /** The sink has room: what was begun goes first. */
  resume(): void {
    this.#isSinkFull = false;
    this.#sendFragments();
  }

  close(): void {
    this.#isClosed = true;
    this.#unfinished = null;
    this.watchers.clear();
    this.catchingUp.clear();
    this.progressDue.clear();
    this.#waiting.clear();
  }

  add(watcher: Watcher, published: Revision): void {
    this.watchers.set(watcher.id, watcher);
    if (watcher.start > published) this.#waiting.add(watcher);
  }

  remove(watcher: Watcher): void {
    this.watchers.delete(watcher.id);
    this.catchingUp.delete(watcher);
    this.progressDue.delete(watcher);
    this.#waiting.delete(watcher);
  }

  /** The next id from 0 upward that no watcher of this stream has. */
  freeId(): WatchId {
    while (this.watchers.has(String(this.#nextId) as WatchId)) this.#nextId += 1;
    const id = String(this.#nextId) as WatchId;
    this.#nextId += 1;
    return id;
  }

  /** Every watcher has got all up to the published revision, and none waits for the future. */
  isInSync(published: Revision): boolean {
    if (this.catchingUp.size > 0) return false;
    for (const watcher of this.#waiting) {
      if (watcher.start > published) return false;
      this.#waiting.delete(watcher);
    }
    return true;
  }

  hasWork(): boolean {
    return this.catchingUp.size > 0 || this.progressDue.size > 0;
  }

  /** Sends one response without events, in parts. */
  send(response: readonly Uint8Array[]): void {
    this.#write(response);
  }

  /** Sends events as one response, or as fragments of one. Not to be called when full. */
  sendEvents(watcher: Watcher, header: Uint8Array, events: readonly Uint8Array[]): void {
    watcher.isQuiet = false;
    this.#eventsSent += events.length;
    const { idField } = watcher;
    if (!watcher.wantsFragments) {
      this.#write(composeResponse(header, idField, events, false));
      return;
    }
    const fragments = fragmentsOf(events, header.length + idField.length, this.#fragmentBytes);
    this.#unfinished = { header, idField, fragments };
    this.#sendFragments();
  }

  // Clients put fragments together by their order on the stream alone: nothing comes between.
  #sendFragments(): void {
    while (!this.#isSinkFull && this.#unfinished !== null) {
      const { header, idField, fragments } = this.#unfinished;
      const fragment = fragments.shift();
      assert(fragment !== undefined, "an unfinished response without fragments");
      if (fragments.length === 0) this.#unfinished = null;
      this.#write(composeResponse(header, idField, fragment, fragments.length > 0));
    }
  }

  #write(parts: readonly Uint8Array[]): void {
    if (!this.#sink.write(parts)) this.#isSinkFull = true;
  }
}

/** Whether the watcher's filters let the event through. */
export function accepts(watcher: Watcher, event: EncodedEvent): boolean {
  return event.isPut() ? watcher.wantsPuts : watcher.wantsDeletes;
}

/** The event's bytes as this watcher wants them; shared. */
export function fieldFor(watcher: Watcher, event: EncodedEvent, readAt: ReadAt): Uint8Array {
  return watcher.wantsPrev ? event.fieldWithPrev(readAt) : event.field();
}
