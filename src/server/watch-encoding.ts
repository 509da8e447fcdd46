// Bytes of watch responses. An event is encoded once, when the first watcher wants it, and the
// same bytes go to every watcher of every stream; what is composed for each watcher is only the
// small head (response header, watch id, fragment flag). Protobuf messages concatenate, so a
// response is its head and then its event fields, joined on the wire.
//
// Sharing and memory: an event field of sharedBytesMin or more is passed on as a part of its own
// and never copied, so that a thousand stalled streams hold one large value once. Smaller ones
// are copied, which costs less than keeping track of them.
import { assert } from "../base/assert.ts";
import { concatBytes } from "../base/bytes.ts";
import type { Revision, WatchId } from "../base/ids.ts";
import type { ResponseHeader } from "../proto/etcdserverpb/header.ts";
import { WatchResponse } from "../proto/etcdserverpb/watch.ts";
import { Event_EventType } from "../proto/mvccpb/kv.ts";
import type { Event, KeyValue } from "../proto/mvccpb/kv.ts";
import type { RevisionEvents } from "../state/outcome.ts";

/** The key's value at a revision; undefined: none then, or compacted away. */
export type ReadAt = (key: Uint8Array, at: Revision) => KeyValue | undefined;

const sharedBytesMin = 1024;
// What an event costs in memory beside its bytes; measured, rounded up.
const eventBytesOverhead = 512;
const emptyResponse = WatchResponse.fromPartial({});
const fragmentField = WatchResponse.encode({ ...emptyResponse, fragment: true }).finish();

export class EncodedEvent {
  readonly event: Event;
  readonly key: Uint8Array;
  #plain: Uint8Array | null = null;
  #withPrev: Uint8Array | null = null;

  constructor(event: Event) {
    this.event = event;
    this.key = keyValueOf(event).key;
  }

  isPut(): boolean {
    return this.event.type === Event_EventType.PUT;
  }

  /** The whole field `events` of a response; shared, never changed. */
  field(): Uint8Array {
    this.#plain ??= WatchResponse.encode({ ...emptyResponse, events: [this.event] }).finish();
    return this.#plain;
  }

  /** The same with prev_kv: the value just before, absent for a creation. */
  fieldWithPrev(readAt: ReadAt): Uint8Array {
    if (this.#withPrev === null) {
      const prevKv = prevOf(this.event, readAt);
      this.#withPrev =
        prevKv === undefined
          ? this.field()
          : WatchResponse.encode({
              ...emptyResponse,
              events: [{ ...this.event, prevKv }],
            }).finish();
    }
    return this.#withPrev;
  }

  /** What keeping this event costs now. */
  retainedBytes(): number {
    const { key, value } = keyValueOf(this.event);
    const plainBytes = this.#plain?.length ?? 0;
    const prevBytes = this.#withPrev === this.#plain ? 0 : (this.#withPrev?.length ?? 0);
    return eventBytesOverhead + key.length + value.length + plainBytes + prevBytes;
  }
}

/** The events of one revision, ready to be shared. */
export interface EncodedRevision {
  readonly revision: Revision;
  readonly events: readonly EncodedEvent[];
}

export function encodedRevision(revisionEvents: RevisionEvents): EncodedRevision {
  const events = revisionEvents.events.map((event) => new EncodedEvent(event));
  return { revision: revisionEvents.revision, events };
}

/** The field `header` of a response: one for all watchers of a revision. */
export function headerField(header: ResponseHeader): Uint8Array {
  return WatchResponse.encode({ ...emptyResponse, header }).finish();
}

/** The field `watch_id` of a response: empty for id 0, the default. */
export function watchIdField(watchId: WatchId): Uint8Array {
  return WatchResponse.encode({ ...emptyResponse, watchId }).finish();
}

/** One response in parts: the head and small events copied together, large events shared. */
export function composeResponse(
  header: Uint8Array,
  watchId: Uint8Array,
  events: readonly Uint8Array[],
  isFragment: boolean,
): Uint8Array[] {
  const own = isFragment ? [header, watchId, fragmentField] : [header, watchId];
  const parts: Uint8Array[] = [];
  let run = own;
  for (const event of events) {
    if (event.length < sharedBytesMin) {
      run.push(event);
      continue;
    }
    if (run.length > 0) parts.push(concatBytes(run));
    parts.push(event);
    run = [];
  }
  if (run.length > 0) parts.push(concatBytes(run));
  return parts;
}

/** Splits the events of one response over several, each below `bytesMax` where its events allow. */
export function fragmentsOf(
  events: readonly Uint8Array[],
  headBytes: number,
  bytesMax: number,
): Uint8Array[][] {
  const fragments: Uint8Array[][] = [];
  let fragment: Uint8Array[] = [];
  let bytes = headBytes;
  for (const event of events) {
    if (fragment.length > 0 && bytes + event.length >= bytesMax) {
      fragments.push(fragment);
      fragment = [];
      bytes = headBytes;
    }
    fragment.push(event);
    bytes += event.length;
  }
  fragments.push(fragment);
  return fragments;
}

function keyValueOf(event: Event): KeyValue {
  assert(event.kv !== undefined, "an event without a key");
  return event.kv;
}

function prevOf(event: Event, readAt: ReadAt): KeyValue | undefined {
  const { key, createRevision, modRevision } = keyValueOf(event);
  const isCreation = event.type === Event_EventType.PUT && createRevision === modRevision;
  return isCreation ? undefined : readAt(key, modRevision - 1);
}
