// The black-box oracle: is there any order of the operations, legal for the sequential model, in
// which each takes effect between its call and its return? Wing and Gong's search with Lowe's
// cache, over Porcupine's doubly linked list of calls and returns (reliability 3.6.2). It trusts
// no revision and sees no log, so that a lying revision cannot hide a fault: answers must agree
// with the model in every field, revisions among them.
//
//   walk from the head: a call that is legal now, and whose (operations done, state) is not cached,
//   is lifted out and the walk restarts; at a return, the newest one lifted is put back and the
//   walk goes on behind it; nothing to put back: not linearizable; no return left: linearizable.
//
// The set of operations done is a bitset with an incremental Zobrist hash; equal hashes are
// compared exactly. At `statesMax` cached states it says "unknown".
import type { Operation } from "./operation.ts";
import { decided, isSerializable, revisionOf } from "./operation.ts";
import { ModelStates } from "./model-states.ts";
import type { ModelState } from "./model-states.ts";
import { run, sameAnswer } from "./sequential-model.ts";

export interface SearchResult {
  readonly verdict: "linearizable" | "not linearizable" | "unknown";
  /** The longest legal order found. All that must be in it when linearizable. */
  readonly prefix: readonly Operation[];
  /** Cached (operations done, state) pairs. */
  readonly states: number;
}

interface Item {
  readonly operation: Operation;
  /** Position in the bitset. */
  readonly bit: number;
  readonly isCall: boolean;
  /** Of a call whose outcome is known: its return. */
  readonly end: Item | null;
  previous: Item;
  next: Item | null;
}

interface Done {
  readonly item: Item;
  readonly before: ModelState;
}

export function checkLinearizable(
  history: { readonly operations: readonly Operation[] },
  { statesMax }: { readonly statesMax: number },
): SearchResult {
  // Serializable reads may be old, and are left to the check by revision.
  const operations = history.operations
    .filter((operation) => !isSerializable(operation))
    .map(decided)
    .filter((operation) => operation !== null);
  return new Search(operations, statesMax).result();
}

class Search {
  readonly #statesMax: number;
  readonly #states = new ModelStates();
  readonly #head: Item;
  /** Returns in the list. */
  #waiting = 0;
  /** Ok operations not done, by the revision that they were told. */
  readonly #waitingAt = new Map<number, number>();
  readonly #bits: Uint32Array;
  readonly #zobrist: Int32Array;
  #hash = 0;
  readonly #cache = new Map<number, { bits: Uint32Array; state: ModelState }[]>();
  #cached = 0;

  constructor(operations: readonly Operation[], statesMax: number) {
    this.#statesMax = statesMax;
    this.#bits = new Uint32Array((operations.length + 31) >>> 5);
    this.#zobrist = zobristOf(operations.length);
    this.#head = this.#listOf(operations);
  }

  result(): SearchResult {
    let state = this.#states.initial;
    const done: Done[] = [];
    let longest: Operation[] = [];
    let item = this.#head.next;
    while (this.#waiting > 0) {
      const next = item?.isCall === true ? this.#step(item, state) : null;
      if (item !== null && next !== null) {
        if (this.#cached > this.#statesMax) return this.#told("unknown", longest);
        done.push({ item, before: state });
        state = next;
        item = this.#head.next;
        continue;
      }
      if (item?.isCall === true) {
        item = item.next;
        continue;
      }
      if (done.length > longest.length) longest = done.map((one) => one.item.operation);
      const last = done.pop();
      if (last === undefined) return this.#told("not linearizable", longest);
      state = last.before;
      this.#putBack(last.item);
      item = last.item.next;
    }
    return this.#told(
      "linearizable",
      done.map((one) => one.item.operation),
    );
  }

  #told(verdict: SearchResult["verdict"], prefix: Operation[]): SearchResult {
    return { verdict, prefix, states: this.#cached };
  }

  /** Lifts the call out when it is legal here and leads somewhere new. */
  #step(item: Item, state: ModelState): ModelState | null {
    const { call, outcome } = item.operation;
    const effect = run(state, call);
    if (outcome.type === "refused") {
      if (effect.type !== "refused" || effect.code !== outcome.code) return null;
    } else if (outcome.type === "ok") {
      if (effect.type !== "done" || !sameAnswer(effect.response, outcome.response)) return null;
    }
    const next = this.#states.after(state, effect);
    // An unknown call that changes nothing here may as well never have been applied.
    if (outcome.type === "unknown" && next === state) return null;
    if (next.revision > state.revision && !this.#mayLeave(state.revision, item)) return null;
    this.#liftOut(item);
    if (this.#isNew(next)) return next;
    this.#putBack(item);
    return null;
  }

  /** A state is left for ever: nobody who was told its revision may still wait. */
  #mayLeave(revision: number, item: Item): boolean {
    const { outcome } = item.operation;
    const isItself = outcome.type === "ok" && revisionOf(outcome.response) === revision;
    return (this.#waitingAt.get(revision) ?? 0) === (isItself ? 1 : 0);
  }

  #isNew(state: ModelState): boolean {
    const key = this.#hash ^ state.hash;
    const same = this.#cache.get(key) ?? [];
    for (const { bits, state: other } of same) {
      if (other === state && bits.every((word, i) => word === this.#bits[i])) return false;
    }
    same.push({ bits: this.#bits.slice(), state });
    this.#cache.set(key, same);
    this.#cached += 1;
    return true;
  }

  #liftOut(item: Item): void {
    this.#flip(item, -1);
    for (const one of [item, item.end]) {
      if (one === null) continue;
      one.previous.next = one.next;
      if (one.next !== null) one.next.previous = one.previous;
    }
  }

  #putBack(item: Item): void {
    this.#flip(item, 1);
    for (const one of [item.end, item]) {
      if (one === null) continue;
      one.previous.next = one;
      if (one.next !== null) one.next.previous = one;
    }
  }

  #flip({ bit, end, operation: { outcome } }: Item, waiting: 1 | -1): void {
    this.#bits[bit >>> 5] = (this.#bits[bit >>> 5] ?? 0) ^ (1 << (bit & 31));
    this.#hash ^= this.#zobrist[bit] ?? 0;
    if (end !== null) this.#waiting += waiting;
    if (outcome.type !== "ok") return;
    const revision = revisionOf(outcome.response);
    this.#waitingAt.set(revision, (this.#waitingAt.get(revision) ?? 0) + waiting);
  }

  /** In order of stamps; at one stamp calls come first, so that they overlap. */
  #listOf(operations: readonly Operation[]): Item {
    const marks: { at: number; item: Item }[] = [];
    const head = { bit: -1, isCall: false, end: null, next: null } as Omit<Item, "previous">;
    const first = head as Item;
    operations.forEach((operation, bit) => {
      const { called, returned, outcome } = operation;
      const shape = { operation, bit, previous: first, next: null };
      const isKnown = outcome.type !== "unknown";
      const end: Item | null = isKnown ? { ...shape, isCall: false, end: null } : null;
      marks.push({ at: called, item: { ...shape, isCall: true, end } });
      if (end !== null) marks.push({ at: returned, item: end });
      if (end !== null) this.#waiting += 1;
      if (outcome.type !== "ok") return;
      const revision = revisionOf(outcome.response);
      this.#waitingAt.set(revision, (this.#waitingAt.get(revision) ?? 0) + 1);
    });
    marks.sort(
      (left, right) => left.at - right.at || Number(right.item.isCall) - Number(left.item.isCall),
    );
    let last = first;
    for (const { item } of marks) {
      last.next = item;
      item.previous = last;
      last = item;
    }
    return first;
  }
}

/** A fixed random word per operation: the same history takes the same steps. */
function zobristOf(count: number): Int32Array {
  const words = new Int32Array(count);
  let word = 0x9e3779b9;
  for (let i = 0; i < count; i++) {
    word ^= word << 13;
    word ^= word >>> 17;
    word ^= word << 5;
    words[i] = word;
  }
  return words;
}
