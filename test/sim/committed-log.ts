// The one history that a run has: every committed entry, what it must bring about by the naive
// machine, and the state of the keys at every revision. Members are compared with it as they apply
// (I5, I26 to I28, I42), clients' answers and watches are judged by it afterwards.
//
// The first member that applies an entry defines nothing: its outcome and events are compared with
// the naive machine's, and its digest with every other member's at the same index.
import { equalBytes } from "../../src/base/bytes.ts";
import type { Index, Revision } from "../../src/base/ids.ts";
import type {
  RangeRequest,
  RangeResponse,
  TxnRequest,
  TxnResponse,
} from "../../src/proto/etcdserverpb/kv.ts";
import type { Event } from "../../src/proto/mvccpb/kv.ts";
import type { Entry } from "../../src/raft/entry.ts";
import { decodeCommand } from "../../src/state/command.ts";
import type { CommandRequest } from "../../src/state/command.ts";
import type { AppliedEntry, Outcome } from "../../src/state/outcome.ts";
import { NaiveMachine, rangeOf } from "../state/naive-machine.ts";
import { isSame, textOf, textOfBytes } from "./same-message.ts";
import { must } from "./violation.ts";

export interface CommittedEntry {
  readonly entry: Entry;
  /** Null: the entry that opened a term. */
  readonly request: CommandRequest | null;
  readonly outcome: Outcome;
  /** Empty: the revision did not move. */
  readonly events: readonly Event[];
  /** After it. */
  readonly revision: Revision;
  readonly digest: string;
  /** When the first member applied it. */
  readonly at: number;
}

/** A lease's life in the log. */
export interface LeaseLife {
  readonly id: string;
  readonly ttlSeconds: number;
  readonly grantedIndex: Index;
  /** Null: it lives. */
  end: { readonly at: number; readonly isExpiry: boolean } | null;
}

/** What is asked of a member that applies. */
export interface ApplyingMember {
  readonly id: string;
  node(): {
    readonly machine: {
      readonly mvcc: { summary(): { readonly revision: Revision; readonly digest: string } };
    };
  };
}

export class CommittedLog {
  /** By index - 1. */
  readonly entries: CommittedEntry[] = [];
  /** The entry of each revision, by revision; the first two have none. */
  readonly byRevision: (CommittedEntry | null)[] = [null, null];
  /** Of all leases ever, in the order granted. */
  readonly leases: LeaseLife[] = [];
  readonly #leasesNow = new Map<string, LeaseLife>();
  /** Revisions at which a value was put, by value as text. */
  readonly #puts = new Map<string, Revision[]>();
  readonly #machine = new NaiveMachine();
  readonly #proposals = new Set<string>();
  readonly #now: () => number;
  compactRevision = -1;

  constructor(now: () => number) {
    this.#now = now;
  }

  revision(): Revision {
    return this.byRevision.length - 1;
  }

  applied(member: ApplyingMember, entry: Entry, applied: AppliedEntry): void {
    const { index } = entry;
    const { revision, digest } = member.node().machine.mvcc.summary();
    const known = this.entries[index - 1];
    if (known === undefined) this.#first(entry, applied, { revision, digest });
    const expected = this.entries[index - 1] as CommittedEntry;
    const line = () => `${member.id} at ${index}`;
    must(
      expected.entry.term === entry.term && equalBytes(expected.entry.data, entry.data),
      "I5",
      () => `${line()} applies another entry than others`,
    );
    must(revision === expected.revision, "I27", () => `${line()} is at revision ${revision}`);
    must(digest === expected.digest, "I26", () => `${line()}: ${digest}, not ${expected.digest}`);
    must(
      applied.outcome.type === expected.outcome.type,
      "I26",
      () => `${line()} answers ${applied.outcome.type}, others ${expected.outcome.type}`,
    );
  }

  /** What a range answered when `revision` was the newest. */
  rangeAt(request: RangeRequest, revision: Revision): RangeResponse {
    const at = request.revision > 0 ? request.revision : revision;
    return rangeOf(this.#machine.pairsAt(at), request, revision);
  }

  /** What a transaction would have answered when `revision` was the newest. */
  txnAt(request: TxnRequest, revision: Revision): TxnResponse {
    return this.#machine.txnAt(request, revision);
  }

  /** At which revisions this value was put. */
  putsOf(value: string): readonly Revision[] {
    return this.#puts.get(value) ?? [];
  }

  lease(id: string): LeaseLife | undefined {
    return this.#leasesNow.get(id);
  }

  #first(
    entry: Entry,
    { outcome, events, proposal }: AppliedEntry,
    after: { revision: Revision; digest: string },
  ): void {
    const { index } = entry;
    must(index === this.entries.length + 1, "I28", () => `${index} is applied out of order`);
    const command = decodeCommand(entry);
    if (proposal !== null) {
      const { member, start, sequence } = proposal;
      const name = `${member}/${start}/${sequence}`;
      must(!this.#proposals.has(name), "I28", () => `proposal ${name} is in the log twice`);
      this.#proposals.add(name);
    }
    const request = command?.request ?? null;
    const expected = request === null ? nothing : this.#expected(request, entry);
    const before = this.revision();
    must(
      isSame(outcome, expected.outcome),
      "model",
      () => `${index} answers ${textOf(outcome)}, not ${textOf(expected.outcome)}`,
    );
    must(
      isSame(events?.events ?? [], expected.events),
      "model",
      () => `${index} has events ${textOf(events)}, not ${textOf(expected.events)}`,
    );
    const revision = expected.events.length > 0 ? before + 1 : before;
    must(after.revision === revision, "I27", () => `${index}: revision ${after.revision}`);
    const committed: CommittedEntry = {
      entry,
      request,
      outcome,
      events: expected.events,
      revision,
      digest: after.digest,
      at: this.#now(),
    };
    this.entries.push(committed);
    if (revision > before) this.byRevision.push(committed);
    for (const { type, kv } of expected.events) {
      if (type !== 0 || kv === undefined) continue;
      const value = textOfBytes(kv.value);
      const revisions = this.#puts.get(value);
      if (revisions === undefined) this.#puts.set(value, [revision]);
      else revisions.push(revision);
    }
    if (outcome.type === "compaction" && request?.$case === "compaction") {
      this.compactRevision = request.value.revision;
    }
  }

  #expected(
    request: CommandRequest,
    { index, term }: Entry,
  ): { outcome: Outcome; events: readonly Event[] } {
    if (request.$case === "leaseExpire") {
      const { IDs, term: judgedTerm, judgedIndex } = request.value;
      const meant = judgedTerm === term ? IDs : [];
      const due = [...new Set(meant)].filter((id) => {
        const lease = this.#leasesNow.get(id);
        return lease !== undefined && lease.grantedIndex <= judgedIndex;
      });
      for (const id of due) this.#end(id, true);
      const value = { IDs: due, term: 1, judgedIndex: Number.MAX_SAFE_INTEGER };
      return this.#machine.apply({ $case: "leaseExpire", value });
    }
    const result = this.#machine.apply(request);
    if (result.outcome.type === "leaseGrant") {
      const { ID: id, TTL: ttlSeconds } = result.outcome.response;
      const life: LeaseLife = { id, ttlSeconds, grantedIndex: index, end: null };
      this.leases.push(life);
      this.#leasesNow.set(id, life);
    }
    if (result.outcome.type === "leaseRevoke" && request.$case === "leaseRevoke") {
      this.#end(request.value.ID, false);
    }
    return result;
  }

  #end(id: string, isExpiry: boolean): void {
    const life = this.#leasesNow.get(id);
    if (life !== undefined) life.end = { at: this.#now(), isExpiry };
    this.#leasesNow.delete(id);
  }
}

const nothing = { outcome: { type: "none" } as const, events: [] };
