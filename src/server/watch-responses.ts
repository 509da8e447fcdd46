// The head of every watch response: the newest published revision with this member's identity and
// term, encoded once for all watchers, and the responses that carry no events. Field values follow
// etcd 3.7: a refused create is created and canceled at once with id -1; a compaction cancel has
// header revision 0 and no reason; a canceled watch has neither reason nor compact revision.
import { assert } from "../base/assert.ts";
import type { ClusterId, MemberId, Revision, Term, WatchId } from "../base/ids.ts";
import { WatchResponse } from "../proto/etcdserverpb/watch.ts";
import { headerField } from "./watch-encoding.ts";

export const noWatch = "-1" as WatchId;

export interface HeaderSource {
  readonly clusterId: ClusterId;
  readonly memberId: MemberId;
  /** The raft term now. */
  term(): Term;
}

export class WatchResponses {
  readonly #source: HeaderSource;
  #published: Revision;
  // The header field at #published and #headerTerm.
  #header: Uint8Array;
  #headerTerm: Term;

  constructor(source: HeaderSource, published: Revision) {
    this.#source = source;
    this.#published = published;
    this.#headerTerm = source.term();
    this.#header = this.#encodeHeader(published);
  }

  /** The newest revision whose events went to all synced watchers. */
  published(): Revision {
    return this.#published;
  }

  advance(revision: Revision): void {
    assert(revision === this.#published + 1, `published revision ${revision} out of order`);
    this.#published = revision;
    this.#headerTerm = this.#source.term();
    this.#header = this.#encodeHeader(revision);
  }

  /** The header field of a response at the published revision; shared. */
  header(): Uint8Array {
    const term = this.#source.term();
    if (term !== this.#headerTerm) {
      this.#headerTerm = term;
      this.#header = this.#encodeHeader(this.#published);
    }
    return this.#header;
  }

  created(watchId: WatchId): Uint8Array {
    return this.#encode(this.#published, { watchId, created: true });
  }

  refused(cancelReason: string): Uint8Array {
    const refusal = { watchId: noWatch, created: true, canceled: true, cancelReason };
    return this.#encode(this.#published, refusal);
  }

  canceled(watchId: WatchId): Uint8Array {
    return this.#encode(this.#published, { watchId, canceled: true });
  }

  compacted(watchId: WatchId, compactRevision: Revision): Uint8Array {
    return this.#encode(0, { watchId, canceled: true, compactRevision });
  }

  /** `noWatch`: for all watches of the stream. */
  progress(watchId: WatchId): Uint8Array {
    return this.#encode(this.#published, { watchId });
  }

  #encode(revision: Revision, fields: Partial<WatchResponse>): Uint8Array {
    const header = this.#headerAt(revision);
    return WatchResponse.encode(WatchResponse.fromPartial({ ...fields, header })).finish();
  }

  #encodeHeader(revision: Revision): Uint8Array {
    return headerField(this.#headerAt(revision));
  }

  #headerAt(revision: Revision) {
    const { clusterId, memberId } = this.#source;
    return { clusterId, memberId, revision, raftTerm: this.#source.term() };
  }
}
