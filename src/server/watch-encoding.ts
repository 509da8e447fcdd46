// Bytes of watch responses. Protobuf messages concatenate, so a response is a list of fields to be
// joined on the wire: the header, encoded once for a revision; the watch id, once for a watcher;
// and each event, once, when the first watcher wants it. Nothing is copied here, and the same
// bytes go to every watcher of every stream: what a thousand stalled streams hold of a large value
// is one value. The sink copies small fields together where that is cheaper.
import { assert } from "../base/assert.ts";
import type { Revision } from "../base/ids.ts";
import { WatchResponse } from "../proto/etcdserverpb/watch.ts";
import { Event_EventType } from "../proto/mvccpb/kv.ts";
import type { Event, KeyValue } from "../proto/mvccpb/kv.ts";
import type { RevisionEvents } from "../state/outcome.ts";

/** The key's value at a revision; undefined: none then, or compacted away. */
export type ReadAt = (key: Uint8Array, at: Revision) => KeyValue | undefined;

// What an event costs in memory beside its bytes; measured, rounded up.
const eventBytesOverhead = 512;
const emptyResponse = WatchResponse.fromPartial({});
const fragmentField = fieldsOf({ fragment: true });

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
    this.#plain ??= fieldsOf({ events: [this.event] });
    return this.#plain;
  }

  /** The same with prev_kv: the value just before, absent for a creation. */
  fieldWithPrev(readAt: ReadAt): Uint8Array {
    if (this.#withPrev === null) {
      const prevKv = prevOf(this.event, readAt);
      this.#withPrev =
        prevKv === undefined ? this.field() : fieldsOf({ events: [{ ...this.event, prevKv }] });
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

/** These fields of a response, and no others. */
export function fieldsOf(fields: Partial<WatchResponse>): Uint8Array {
  return WatchResponse.encode({ ...emptyResponse, ...fields }).finish();
}

/** One response in parts, all of them shared. */
export function composeResponse(
  header: Uint8Array,
  watchId: Uint8Array,
  events: readonly Uint8Array[],
  isFragment: boolean,
): Uint8Array[] {
  return isFragment ? [header, watchId, fragmentField, ...events] : [header, watchId, ...events];
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
