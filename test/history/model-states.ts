// Immutable states of the sequential model for the search. Equal states are one object: a state is
// made once from the state before it and what changed, so that comparing two exactly is comparing
// two references. Two orders of writes that end in equal keys but had other histories are two
// states, since reads of older revisions tell them apart.
import { compareBytes } from "../../src/base/bytes.ts";
import type { KeyValue } from "../../src/proto/mvccpb/kv.ts";
import { sameAnswer } from "./sequential-model.ts";
import type { Effect, View } from "./sequential-model.ts";

type DoneEffect = Extract<Effect, { type: "done" }>;

export class ModelState implements View {
  readonly revision: number;
  readonly compactRevision: number;
  readonly hash: number;
  readonly #pairs: ReadonlyMap<string, KeyValue>;
  readonly #leases: ReadonlySet<string>;
  /** The newest state of the revision before; null in the first. */
  readonly #older: ModelState | null;

  private constructor(
    fields: Pick<ModelState, "revision" | "compactRevision" | "hash">,
    pairs: ReadonlyMap<string, KeyValue>,
    leases: ReadonlySet<string>,
    older: ModelState | null,
  ) {
    this.revision = fields.revision;
    this.compactRevision = fields.compactRevision;
    this.hash = fields.hash;
    this.#pairs = pairs;
    this.#leases = leases;
    this.#older = older;
  }

  static empty(): ModelState {
    const fields = { revision: 1, compactRevision: -1, hash: 0 };
    return new ModelState(fields, new Map(), new Set(), null);
  }

  after({ changes, compacted, leases: ends }: DoneEffect, hash: number): ModelState {
    const pairs = new Map(this.#pairs);
    for (const { key, pair } of changes) {
      if (pair === null) pairs.delete(key);
      else pairs.set(key, pair);
    }
    const leases = new Set(this.#leases);
    for (const { id, isAlive } of ends) {
      if (isAlive) leases.add(id);
      else leases.delete(id);
    }
    const isWrite = changes.length > 0;
    const revision = this.revision + (isWrite ? 1 : 0);
    const compactRevision = compacted ?? this.compactRevision;
    const fields = { revision, compactRevision, hash };
    return new ModelState(fields, pairs, leases, isWrite ? this : this.#older);
  }

  find(key: string): KeyValue | undefined {
    return this.#pairs.get(key);
  }

  pairs(first: string, end: string | undefined): KeyValue[] {
    const found: KeyValue[] = [];
    for (const [key, pair] of this.#pairs) {
      if (key >= first && (end === undefined || key < end)) found.push(pair);
    }
    return found.sort((left, right) => compareBytes(left.key, right.key));
  }

  at(revision: number): View {
    if (revision >= this.revision || this.#older === null) return this;
    let state = this.#older;
    while (state.revision > revision && state.#older !== null) state = state.#older;
    return state;
  }

  hasLease(id: string): boolean {
    return this.#leases.has(id);
  }
}

export class ModelStates {
  readonly initial = ModelState.empty();
  readonly #after = new Map<ModelState, { effect: DoneEffect; state: ModelState }[]>();
  #made = 0;

  /** The same object when nothing changes. */
  after(state: ModelState, effect: Effect): ModelState {
    if (effect.type === "refused") return state;
    const { changes, compacted, leases } = effect;
    if (changes.length === 0 && compacted === null && leases.length === 0) return state;
    const known = this.#after.get(state) ?? [];
    for (const { effect: other, state: next } of known) {
      const isSame =
        other.compacted === compacted &&
        sameAnswer(other.leases, leases) &&
        sameAnswer(other.changes, changes);
      if (isSame) return next;
    }
    this.#made += 1;
    const next = state.after(effect, Math.imul(this.#made, 0x85ebca6b));
    known.push({ effect, state: next });
    this.#after.set(state, known);
    return next;
  }
}
