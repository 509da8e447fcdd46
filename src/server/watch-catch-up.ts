// Serves the watchers that are behind: re-reads history for them in rounds. A round takes the
// stream whose turn it is, starts at its first watcher's next revision, reads one bounded batch
// (from the recent revisions, else one scan of the store), and gives it to every watcher at hand
// that is inside the batch: thousands that stalled together share one scan. Rounds go in turn over
// streams, and within a stream over watchers, so that 10^5 watchers of one stream delay another
// stream by one round and no more (etcd #17529). One scan is in flight at most.
//
// Memory: one batch, and the group's references into it. Streams without room are not looked at
// until they resume; their watchers are numbers.
//
// A watcher leaves when nothing published is left for it (synced), when its next revision has been
// compacted (canceled with the compact revision; never silence), or with its stream. Between the
// scan and its delivery the loop of the node goes on: what is published meanwhile is a later
// revision, and is read in a later round.
import { assert } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import type { Revision } from "../base/ids.ts";
import type { RevisionEvents } from "../state/outcome.ts";
import { encodedRevision } from "./watch-encoding.ts";
import type { EncodedEvent, EncodedRevision } from "./watch-encoding.ts";
import type { ScanLimits, WatchHistory } from "./watch-history.ts";
import type { RecentRevisions } from "./watch-recent.ts";
import type { WatchResponses } from "./watch-responses.ts";
import { accepts, fieldFor } from "./watch-stream.ts";
import type { WatchStream, Watcher } from "./watch-stream.ts";
import { WatcherIndex } from "./watcher-index.ts";
import type { WatchedKeys } from "./watcher-index.ts";

export interface CatchUpLimits extends ScanLimits {
  /** Watchers served by one batch. */
  readonly groupMax: number;
  /** A response ends after the revision with which it reaches this; small, because a stream whose
   * client stopped reading holds one of them. */
  readonly responseBytesMax: number;
}

/** A watcher's share of a batch: the events of whole revisions that are not sent yet. */
interface Share extends WatchedKeys {
  readonly watcher: Watcher;
  fields: Uint8Array[];
  bytes: number;
  /** Everything below is sent; nothing of `fields` is. */
  next: Revision;
  /** Of the first of `fields`. */
  firstRevision: Revision;
  /** The stream had no room: everything from `next` on is to be read again. */
  isStopped: boolean;
}

interface Group {
  readonly first: Revision;
  readonly watchers: readonly Watcher[];
  /** Whose turn it is. */
  readonly stream: WatchStream;
}

export class CatchUp {
  readonly #history: WatchHistory;
  readonly #recent: RecentRevisions;
  readonly #responses: WatchResponses;
  readonly #clock: Clock;
  readonly #limits: CatchUpLimits;
  readonly #index: WatcherIndex<Watcher>;
  /** Streams with work and room, in turn order. */
  readonly #ready = new Set<WatchStream>();
  #watcherCount = 0;
  #isRunning = false;
  #isStopped = false;

  constructor(
    deps: {
      history: WatchHistory;
      recent: RecentRevisions;
      responses: WatchResponses;
      clock: Clock;
      index: WatcherIndex<Watcher>;
    },
    limits: CatchUpLimits,
  ) {
    this.#history = deps.history;
    this.#recent = deps.recent;
    this.#responses = deps.responses;
    this.#clock = deps.clock;
    this.#index = deps.index;
    this.#limits = limits;
  }

  watcherCount(): number {
    return this.#watcherCount;
  }

  /** One of the watchers here was canceled, or its stream closed. */
  left(): void {
    this.#watcherCount -= 1;
  }

  /** The watcher gets history from `next` on before anything live; it is not in the index until
   * it is synced. */
  add(watcher: Watcher, next: Revision): void {
    this.#watcherCount += 1;
    watcher.next = next;
    watcher.stream.catchingUp.add(watcher);
    this.wake(watcher.stream);
  }

  /** The stream has new work, or room again. */
  wake(stream: WatchStream): void {
    if (stream.isClosed() || stream.isFull() || !stream.hasWork()) return;
    this.#ready.add(stream);
    this.#schedule();
  }

  stop(): void {
    this.#isStopped = true;
    this.#ready.clear();
    void this.#releaseView();
  }

  #schedule(): void {
    if (this.#isRunning || this.#isStopped || this.#ready.size === 0) return;
    this.#isRunning = true;
    this.#clock.soon(() => {
      this.#round();
    });
  }

  #round(): void {
    let noticesLeft = this.#limits.groupMax;
    for (const stream of this.#ready) {
      this.#ready.delete(stream);
      noticesLeft -= this.#sendNotices(stream, noticesLeft);
      const [head] = stream.catchingUp;
      if (head !== undefined && !stream.isFull() && noticesLeft > 0) {
        this.#serveFrom(stream, head.next);
        return;
      }
      this.wake(stream);
      if (noticesLeft === 0) break;
    }
    this.#isRunning = false;
    void this.#releaseView();
    this.#schedule();
  }

  /** Progress that is due, and the end of watchers whose next revision is compacted. */
  #sendNotices(stream: WatchStream, noticesMax: number): number {
    let sent = 0;
    for (const watcher of stream.progressDue) {
      if (sent === noticesMax || stream.isFull()) return sent;
      stream.progressDue.delete(watcher);
      if (!watcher.isQuiet || stream.catchingUp.has(watcher)) continue;
      stream.send(this.#responses.progress(watcher.idField));
      sent += 1;
    }
    const compactRevision = this.#history.compactRevision();
    for (const watcher of stream.catchingUp) {
      if (sent === noticesMax || stream.isFull() || watcher.next >= compactRevision) return sent;
      stream.send(this.#responses.compacted(watcher.idField, compactRevision));
      this.#watcherCount -= 1;
      stream.remove(watcher);
      sent += 1;
    }
    return sent;
  }

  #serveFrom(stream: WatchStream, first: Revision): void {
    const group = { first, stream, watchers: this.#gather(stream, first) };
    if (first < this.#recent.first()) {
      void this.#serveFromStore(group);
      return;
    }
    void this.#releaseView();
    const batch = this.#recentBatch(first);
    this.#serve(group, batch);
    for (const revision of batch) this.#recent.measure(revision);
    this.#endRound(group);
  }

  /** A failing scan is a damaged store and ends the process, unless the store was being closed. */
  async #serveFromStore(group: Group): Promise<void> {
    let batch: RevisionEvents[];
    try {
      batch = await this.#history.scan(group.first, this.#recent.first() - 1, this.#limits);
    } catch (error) {
      if (this.#isStopped) return;
      throw error;
    }
    this.#serve(group, batch.map(encodedRevision));
    this.#endRound(group);
  }

  /** Only scans that follow one another share a view. */
  async #releaseView(): Promise<void> {
    try {
      await this.#history.release();
    } catch (error) {
      if (!this.#isStopped) throw error;
    }
  }

  #endRound(group: Group): void {
    this.#isRunning = false;
    this.wake(group.stream);
    this.#schedule();
  }

  /** The watchers that a batch from `first` on can serve: of the stream whose turn it is, then of
   * the others in turn order. */
  #gather(stream: WatchStream, first: Revision): Watcher[] {
    const { groupMax, revisionsMax } = this.#limits;
    const watchers: Watcher[] = [];
    let examined = 0;
    const gatherFrom = (source: WatchStream): void => {
      for (const watcher of source.catchingUp) {
        if (examined === groupMax) return;
        examined += 1;
        if (watcher.next >= first && watcher.next < first + revisionsMax) watchers.push(watcher);
      }
    };
    gatherFrom(stream);
    for (const other of this.#ready) {
      if (examined === groupMax) break;
      if (!other.isFull()) gatherFrom(other);
    }
    return watchers;
  }

  #recentBatch(first: Revision): EncodedRevision[] {
    const published = this.#responses.published();
    const batch: EncodedRevision[] = [];
    let bytes = 0;
    for (let revision = first; revision <= published; revision++) {
      const recent = this.#recent.get(revision);
      batch.push(recent);
      for (const event of recent.events) bytes += event.retainedBytes();
      if (batch.length === this.#limits.revisionsMax || bytes >= this.#limits.bytesMax) break;
    }
    return batch;
  }

  #serve(group: Group, batch: readonly EncodedRevision[]): void {
    const last = batch.at(-1);
    assert(last !== undefined, "a catch-up batch without revisions");
    const shares = sharesOf(group);
    const byKey = new WatcherIndex<Share>();
    for (const share of shares) byKey.add(share);
    for (const { revision, events } of batch) {
      const touched: Share[] = [];
      for (const event of events) {
        byKey.visit(event.key, (share) => {
          if (this.#take(share, revision, event)) touched.push(share);
        });
      }
      for (const share of touched) {
        if (share.bytes >= this.#limits.responseBytesMax) this.#flush(share, revision);
      }
    }
    for (const share of shares) {
      this.#flush(share, last.revision);
      this.#settle(share);
    }
  }

  /** Whether the watcher wants the event and there is room for it. */
  #take(share: Share, revision: Revision, event: EncodedEvent): boolean {
    const { watcher } = share;
    if (share.isStopped || revision < share.next || !accepts(watcher, event)) return false;
    if (share.fields.length === 0) share.firstRevision = revision;
    if (watcher.stream.isFull()) {
      stop(share);
      return false;
    }
    const field = fieldFor(watcher, event, this.#history.readAt);
    share.fields.push(field);
    share.bytes += field.length;
    return true;
  }

  /** Sends what was taken; the share then is complete up to `through`. */
  #flush(share: Share, through: Revision): void {
    const { watcher, fields } = share;
    if (share.isStopped) return;
    if (fields.length > 0) {
      if (watcher.stream.isFull()) {
        stop(share);
        return;
      }
      watcher.stream.sendEvents(watcher, this.#responses.header(), fields);
    }
    share.fields = [];
    share.bytes = 0;
    share.next = Math.max(share.next, through + 1);
  }

  /** After the batch: synced, or at the end of its stream's turn order; where it was if it got
   * nothing, or not all. */
  #settle({ watcher, next, isStopped }: Share): void {
    const { catchingUp } = watcher.stream;
    const isServed = next > watcher.next && !isStopped;
    watcher.next = next;
    if (!isServed) return;
    catchingUp.delete(watcher);
    if (next <= this.#responses.published()) {
      catchingUp.add(watcher);
      return;
    }
    this.#watcherCount -= 1;
    this.#index.add(watcher);
  }
}

/** A watcher that was canceled while the batch was read has none. */
function sharesOf(group: Group): Share[] {
  const shares: Share[] = [];
  for (const watcher of group.watchers) {
    if (!watcher.stream.catchingUp.has(watcher)) continue;
    const { key, end, next } = watcher;
    const nothing = { fields: [], bytes: 0, firstRevision: next, isStopped: false };
    shares.push({ key, end, watcher, next, ...nothing });
  }
  return shares;
}

/** Revisions are atomic: what was taken and not sent is read again, from its first revision. */
function stop(share: Share): void {
  share.isStopped = true;
  share.next = share.firstRevision;
}
