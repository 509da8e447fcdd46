// The head of every watch response: the newest published revision with this member's identity and
// term, encoded once for all watchers, and the responses that carry no events, in parts as all
// responses. Field values follow
// etcd 3.7: a refused create is created and canceled at once with id -1; a compaction cancel has
// header revision 0 and no reason; a canceled watch has neither reason nor compact revision.
import { assert } from "../base/assert.ts";
import type { ClusterId, MemberId, Revision, Term, WatchId } from "../base/ids.ts";
import { fieldsOf } from "./watch-encoding.ts";

const noWatch = "-1" as WatchId;
const noWatchField = fieldsOf({ watchId: noWatch });
const createdField = fieldsOf({ created: true });
const canceledField = fieldsOf({ canceled: true });

export interface HeaderSource {
  readonly clusterId: ClusterId;
  readonly memberId: MemberId;
  /** The raft term now. */
  term(): Term;
}

export class WatchResponses {
  readonly #source: HeaderSource;
  #published: Revision;
  // The header field at #published and #headerTerm; null: not asked for yet.
  #header: Uint8Array | null = null;
  #headerTerm: Term;

  constructor(source: HeaderSource, published: Revision) {
    this.#source = source;
    this.#published = published;
    this.#headerTerm = source.term();
  }

  /** The newest revision whose events went to all synced watchers. */
  published(): Revision {
    return this.#published;
  }

  advance(revision: Revision): void {
    assert(revision === this.#published + 1, `published revision ${revision} out of order`);
    this.#published = revision;
    this.#header = null;
  }

  /** The header field of a response at the published revision; shared. */
  header(): Uint8Array {
    const term = this.#source.term();
    if (this.#header === null || term !== this.#headerTerm) {
      this.#headerTerm = term;
      this.#header = this.#encodeHeader(this.#published);
    }
    return this.#header;
  }

  created(watchIdField: Uint8Array): Uint8Array[] {
    return [this.header(), watchIdField, createdField];
  }

  refused(cancelReason: string): Uint8Array[] {
    const fields = { watchId: noWatch, created: true, canceled: true, cancelReason };
    return [this.header(), fieldsOf(fields)];
  }

  canceled(watchIdField: Uint8Array): Uint8Array[] {
    return [this.header(), watchIdField, canceledField];
  }

  compacted(watchIdField: Uint8Array, compactRevision: Revision): Uint8Array[] {
    return [this.#encodeHeader(0), watchIdField, fieldsOf({ canceled: true, compactRevision })];
  }

  progress(watchIdField: Uint8Array): Uint8Array[] {
    return [this.header(), watchIdField];
  }

  /** For all watches of the stream. */
  streamProgress(): Uint8Array[] {
    return [this.header(), noWatchField];
  }

  #encodeHeader(revision: Revision): Uint8Array {
    const { clusterId, memberId } = this.#source;
    const header = { clusterId, memberId, revision, raftTerm: this.#source.term() };
    return fieldsOf({ header });
  }
}
