// Log entries and hard state: what consensus must make durable. One binary form (codec.ts) serves
// disk and wire.
import type { MemberId, Index, Term } from "../base/ids.ts";

/** A position in the log together with the term of the entry there. */
export interface EntryId {
  readonly term: Term;
  readonly index: Index;
}

/** Before the first entry. */
export const entryIdZero: EntryId = { term: 0, index: 0 };

// "normal": a command, or nothing (length 0: the entry a leader opens its term with).
// "configuration": a change of membership; written by none of today's features, kept in the form.
export type EntryKind = "normal" | "configuration";

export interface Entry {
  readonly term: Term;
  readonly index: Index;
  readonly kind: EntryKind;
  /** Owned by the entry and never changed. */
  readonly data: Uint8Array;
}

/** Must be durable before any message that relies on it leaves (rule R5). */
export interface HardState {
  readonly term: Term;
  /** Whom this member voted for in `term`; null: nobody. */
  readonly vote: MemberId | null;
  /** A hint: highest index known committed when it was written. */
  readonly commit: Index;
}

/** Who counts. Effective from the entry that carries it, or from the start for the first one. */
export interface Configuration {
  readonly voters: readonly MemberId[];
  readonly learners: readonly MemberId[];
}
