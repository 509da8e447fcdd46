// The watches of one member: takes the events of each revision after it was applied and brings
// them to every watcher that wants them. What is here was committed and applied before, so that no
// event above the durable commit index can reach a client (I40), on any member.
//
//                     create, start above the published revision
//                                      │
//                                   waiting ── its start is published ──┐
//                                                                       ▼
//   create, start 0 ─────────────────────────────────────────────── ▶ synced ◀──────────┐
//                                        an event, and the stream is full │             │
//                                                                         ▼             │
//   create, start in the past ───────────────────────────────────── ▶ catching up ──────┘
//                                                                         │     nothing published
//                      its next revision was compacted: canceled  ◀───────┘     is left for it
//
// synced       got everything published; the next event goes into its stream's sink at once.
// catching up  holds one number, the next revision; watch-catch-up.ts re-reads history for it.
// waiting      as synced, but gets nothing below its start, and counts as not in sync.
//
// No queue is here: the sink is one, bounded by the edge, and its answer "full" turns every watcher
// that would get more into one that catches up. A watcher that wants nothing of what passes stays
// synced however full its stream is. Compaction needs no notice: a watcher meets it when its turn
// to catch up comes, and synced watchers need no history.
import { assert } from "../base/assert.ts";
import { compareBytes } from "../base/bytes.ts";
import type { Clock, Timer } from "../base/clock.ts";
import { errorTable } from "../base/errors.ts";
import type { Revision, WatchId } from "../base/ids.ts";
import { Prng } from "../base/prng.ts";
import { WatchCreateRequest_FilterType } from "../proto/etcdserverpb/watch.ts";
import type { WatchCreateRequest } from "../proto/etcdserverpb/watch.ts";
import type { RevisionEvents } from "../state/outcome.ts";
import { CatchUp } from "./watch-catch-up.ts";
import { encodedRevision, fieldsOf } from "./watch-encoding.ts";
import type { EncodedEvent } from "./watch-encoding.ts";
import type { WatchHistory } from "./watch-history.ts";
import { RecentRevisions } from "./watch-recent.ts";
import { WatchResponses } from "./watch-responses.ts";
import type { HeaderSource } from "./watch-responses.ts";
import { accepts, fieldFor, WatchStream } from "./watch-stream.ts";
import type { Watcher, WatchSink } from "./watch-stream.ts";
import { WatcherIndex } from "./watcher-index.ts";
import type { WatchedKeys } from "./watcher-index.ts";

export interface WatchHubOptions {
  /** Responses from this size are split, for watchers that allow it; --max-request-bytes. */
  readonly fragmentBytes: number;
  /** --watch-progress-notify-interval; up to a tenth is added, so that members do not align. */
  readonly progressNotifyMs: number;
  /** Watchers of one stream, and of all: about 1.3 kB each, idle. More creates are refused. */
  readonly watchersPerStreamMax: number;
  readonly watchersMax: number;
  /** Revisions kept encoded, for watchers that are a little behind. */
  readonly recentRevisionsMax: number;
  readonly recentBytesMax: number;
  /** One read of history: revisions (as etcd, the most in one response) and about so many bytes. */
  readonly scanRevisionsMax: number;
  readonly scanBytesMax: number;
  /** A catching-up response ends after the revision that brings it to this size. */
  readonly responseBytesMax: number;
  /** Watchers served by one read of history: what one turn of the loop is worth. */
  readonly scanWatchersMax: number;
}

export const watchHubDefaults: WatchHubOptions = {
  fragmentBytes: 1536 * 1024,
  progressNotifyMs: 600_000,
  watchersPerStreamMax: 200_000,
  watchersMax: 400_000,
  recentRevisionsMax: 1024,
  recentBytesMax: 4 * 1024 * 1024,
  scanRevisionsMax: 1000,
  scanBytesMax: 64 * 1024,
  responseBytesMax: 16 * 1024,
  scanWatchersMax: 256,
};

export interface WatchHubDeps {
  readonly history: WatchHistory;
  readonly header: HeaderSource;
  readonly clock: Clock;
  /** Seeds the jitter of the progress ticks. */
  readonly seed: number;
}

export class WatchHub {
  readonly #history: WatchHistory;
  readonly #clock: Clock;
  readonly #prng: Prng;
  readonly #options: WatchHubOptions;
  readonly #responses: WatchResponses;
  readonly #recent: RecentRevisions;
  /** The watchers that are not catching up: who is behind costs a write nothing. */
  readonly #index = new WatcherIndex<Watcher>();
  readonly #catchUp: CatchUp;
  readonly #streams = new Set<WatchStream>();
  #progressTimer: Timer | null = null;
  #isStopped = false;
  /** By streams that are closed. */
  #eventsSentBefore = 0;

  constructor({ history, header, clock, seed }: WatchHubDeps, options: WatchHubOptions) {
    const published = history.revision();
    this.#history = history;
    this.#clock = clock;
    this.#prng = new Prng(seed);
    this.#options = options;
    this.#responses = new WatchResponses(header, published);
    this.#recent = new RecentRevisions(published, {
      revisionsMax: options.recentRevisionsMax,
      bytesMax: options.recentBytesMax,
    });
    this.#catchUp = new CatchUp(
      { history, recent: this.#recent, responses: this.#responses, clock, index: this.#index },
      {
        revisionsMax: options.scanRevisionsMax,
        bytesMax: options.scanBytesMax,
        responseBytesMax: options.responseBytesMax,
        groupMax: options.scanWatchersMax,
      },
    );
  }

  /** Now; `behind` are the watchers that catch up, `eventsSent` is since the start. */
  counts(): { watchers: number; streams: number; behind: number; eventsSent: number } {
    const behind = this.#catchUp.watcherCount();
    let eventsSent = this.#eventsSentBefore;
    for (const stream of this.#streams) eventsSent += stream.eventsSent();
    const watchers = this.#index.size() + behind;
    return { watchers, streams: this.#streams.size, behind, eventsSent };
  }

  openStream(sink: WatchSink): WatchStream {
    const stream = new WatchStream(sink, { fragmentBytes: this.#options.fragmentBytes });
    if (this.#isStopped) stream.close();
    else this.#streams.add(stream);
    return stream;
  }

  /** Ends all watches of the stream without a word: its client is gone. */
  closeStream(stream: WatchStream): void {
    for (const watcher of stream.watchers.values()) this.#leave(watcher);
    stream.close();
    if (this.#streams.delete(stream)) this.#eventsSentBefore += stream.eventsSent();
  }

  /** The stream's sink has room again. */
  resume(stream: WatchStream): void {
    stream.resume();
    this.#catchUp.wake(stream);
  }

  stop(): void {
    this.#isStopped = true;
    this.#progressTimer?.cancel();
    this.#catchUp.stop();
    for (const stream of this.#streams) this.closeStream(stream);
  }

  /** Answers `created` before anything else of this watch. The stream must have room. */
  create(stream: WatchStream, request: WatchCreateRequest): void {
    if (stream.isClosed()) return;
    assert(!stream.isFull(), "a watch is created on a stream without room");
    const keys = watchedKeys(request);
    const refusal = this.#refusalOf(stream, keys, request);
    if (refusal !== null) {
      stream.send(this.#responses.refused(refusal));
      return;
    }
    const published = this.#responses.published();
    const id = request.watchId === "0" ? stream.freeId() : (request.watchId as WatchId);
    const start = request.startRevision;
    const watcher: Watcher = {
      ...keys,
      id,
      idField: fieldsOf({ watchId: id }),
      stream,
      start,
      wantsPuts: !request.filters.includes(WatchCreateRequest_FilterType.NOPUT),
      wantsDeletes: !request.filters.includes(WatchCreateRequest_FilterType.NODELETE),
      wantsPrev: request.prevKv,
      wantsProgress: request.progressNotify,
      wantsFragments: request.fragment,
      next: start,
      isQuiet: true,
    };
    stream.add(watcher, published);
    stream.send(this.#responses.created(watcher.idField));
    if (watcher.wantsProgress) this.#armProgress();
    if (start > 0 && start <= published) this.#catchUp.add(watcher, start);
    else this.#index.add(watcher);
  }

  /** An unknown id gets no answer. The stream must have room. */
  cancel(stream: WatchStream, watchId: WatchId): void {
    const watcher = stream.watchers.get(watchId);
    if (watcher === undefined) return;
    assert(!stream.isFull(), "a watch is canceled on a stream without room");
    this.#leave(watcher);
    stream.remove(watcher);
    stream.send(this.#responses.canceled(watcher.idField));
  }

  /** Says that everything up to the header's revision was sent, if it was, to every watcher of the
   * stream; otherwise nothing: clients ask again. The stream must have room. */
  requestProgress(stream: WatchStream): void {
    if (stream.watchers.size === 0) return;
    assert(!stream.isFull(), "progress is asked on a stream without room");
    if (!stream.isInSync(this.#responses.published())) return;
    stream.send(this.#responses.streamProgress());
  }

  /** The events of the next revision, after it was applied; once each and in order. */
  publish(revisionEvents: RevisionEvents): void {
    const encoded = encodedRevision(revisionEvents);
    const { revision, events } = encoded;
    this.#responses.advance(revision);
    // Made when somebody wants it: most revisions are watched by nobody.
    let header: Uint8Array | null = null;
    // Watchers in the order of their first event; one response a watcher and revision.
    const wanted = new Map<Watcher, EncodedEvent[]>();
    const behind: Watcher[] = [];
    for (const event of events) {
      this.#index.visit(event.key, (watcher) => {
        if (revision < watcher.start || !accepts(watcher, event)) return;
        if (watcher.stream.isFull()) behind.push(watcher);
        else if (events.length === 1) {
          header ??= this.#responses.header();
          this.#sendLive(watcher, header, events);
        } else if (!append(wanted, watcher, event)) wanted.set(watcher, [event]);
      });
    }
    for (const [watcher, own] of wanted) {
      if (watcher.stream.isFull()) behind.push(watcher);
      else this.#sendLive(watcher, (header ??= this.#responses.header()), own);
    }
    for (const watcher of behind) this.#fallBehind(watcher, revision);
    this.#recent.push(encoded);
  }

  #sendLive(watcher: Watcher, header: Uint8Array, events: readonly EncodedEvent[]): void {
    const fields = events.map((event) => fieldFor(watcher, event, this.#history.readAt));
    watcher.stream.sendEvents(watcher, header, fields);
  }

  /** Of several events of a revision it may be told more than once. */
  #fallBehind(watcher: Watcher, revision: Revision): void {
    if (watcher.stream.catchingUp.has(watcher)) return;
    this.#index.remove(watcher);
    this.#catchUp.add(watcher, revision);
  }

  #leave(watcher: Watcher): void {
    if (watcher.stream.catchingUp.has(watcher)) this.#catchUp.left();
    else this.#index.remove(watcher);
  }

  /** The text of a refusal, as etcd words it; null: the watch can be made. */
  #refusalOf(stream: WatchStream, keys: WatchedKeys, request: WatchCreateRequest): string | null {
    const { key, end } = keys;
    if (end !== undefined && end !== null && compareBytes(key, end) >= 0) {
      return "mvcc: watcher range is empty";
    }
    if (request.startRevision < 0) return errorTable.compacted.text;
    if (request.watchId !== "0" && stream.watchers.has(request.watchId as WatchId)) {
      return "mvcc: duplicate watch ID provided on the WatchStream";
    }
    const isCrowded =
      stream.watchers.size >= this.#options.watchersPerStreamMax ||
      this.#index.size() + this.#catchUp.watcherCount() >= this.#options.watchersMax;
    return isCrowded ? errorTable.requestTooManyRequests.text : null;
  }

  /** One timer for all watchers; it rests while nobody wants progress. */
  #armProgress(): void {
    if (this.#progressTimer !== null || this.#isStopped) return;
    const { progressNotifyMs } = this.#options;
    const jitterMs = this.#prng.below(Math.max(1, Math.floor(progressNotifyMs / 10)));
    this.#progressTimer = this.#clock.after(progressNotifyMs + jitterMs, () => {
      this.#progressTimer = null;
      this.#tickProgress();
    });
  }

  /** Marks who is told: in sync, not waiting, and without an event since the last tick. */
  #tickProgress(): void {
    const published = this.#responses.published();
    let isWanted = false;
    for (const stream of this.#streams) {
      for (const watcher of stream.watchers.values()) {
        if (!watcher.wantsProgress) continue;
        isWanted = true;
        const isTold =
          watcher.isQuiet && watcher.start <= published && !stream.catchingUp.has(watcher);
        if (isTold) stream.progressDue.add(watcher);
        watcher.isQuiet = true;
      }
      this.#catchUp.wake(stream);
    }
    if (isWanted) this.#armProgress();
  }
}

function append(
  wanted: ReadonlyMap<Watcher, EncodedEvent[]>,
  watcher: Watcher,
  event: EncodedEvent,
): boolean {
  return (wanted.get(watcher)?.push(event) ?? 0) > 0;
}

/** An empty key means the smallest; range end as everywhere. Copies, so that a watcher does not
 * keep the memory of its request. */
function watchedKeys(request: WatchCreateRequest): WatchedKeys {
  const key = request.key.length === 0 ? Uint8Array.of(0) : new Uint8Array(request.key);
  const { rangeEnd } = request;
  if (rangeEnd.length === 0) return { key, end: undefined };
  if (rangeEnd.length === 1 && rangeEnd[0] === 0) return { key, end: null };
  return { key, end: new Uint8Array(rangeEnd) };
}
