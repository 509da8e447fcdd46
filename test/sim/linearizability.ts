// Whether a history of calls can be explained by a single copy: Wing and Gong's search with Lowe's
// cache, on Porcupine's list of calls and returns. It knows nothing of revisions or of the log, so
// that a lying revision cannot hide a fault from it. Bounded: beyond `stepsMax` it gives up with
// "unknown" rather than with memory.
//
//   walk the list in time order: a call that the model allows now, and whose outcome with the set of
//   calls done was not tried, is lifted out; at a return whose call is not done, undo the last one.

/** One call on the single copy. Unknown fate: `returnedAt` is Infinity and any result is allowed. */
export interface Call<Input, Output> {
  readonly calledAt: number;
  readonly returnedAt: number;
  readonly input: Input;
  /** Null: the caller never learned it. */
  readonly output: Output | null;
}

export interface Model<State, Input, Output> {
  readonly initial: State;
  /** Undefined: the output cannot be. */
  step(state: State, input: Input, output: Output | null): State | undefined;
  /** Equal keys: equal states. */
  key(state: State): string;
}

export type Verdict = "linearizable" | "not linearizable" | "unknown";

interface Item {
  readonly id: number;
  /** Of a call: its return. Null: this is a return. */
  readonly end: Item | null;
  previous: Item | null;
  next: Item | null;
}

export function checkLinearizable<State, Input, Output>(
  calls: readonly Call<Input, Output>[],
  model: Model<State, Input, Output>,
  stepsMax = 200_000,
): Verdict {
  const head = listOf(calls);
  const bits = new Uint8Array(calls.length).fill(48);
  const tried = new Set<string>();
  const stack: { item: Item; state: State }[] = [];
  let state = model.initial;
  let item = head.next;
  for (let steps = 0; item !== null; steps++) {
    if (steps > stepsMax) return "unknown";
    if (item.end === null) {
      const last = stack.pop();
      if (last === undefined) return "not linearizable";
      state = last.state;
      bits[last.item.id] = 48;
      putBack(last.item);
      item = last.item.next;
      continue;
    }
    const { input, output } = calls[item.id] as Call<Input, Output>;
    const next = model.step(state, input, output);
    if (next !== undefined) {
      bits[item.id] = 49;
      const place = `${String.fromCharCode(...bits)} ${model.key(next)}`;
      if (!tried.has(place)) {
        tried.add(place);
        stack.push({ item, state });
        state = next;
        liftOut(item);
        item = head.next;
        continue;
      }
      bits[item.id] = 48;
    }
    item = item.next;
  }
  return "linearizable";
}

/** In time order; at one moment calls come before returns, so that touching calls overlap. */
function listOf<Input, Output>(calls: readonly Call<Input, Output>[]): Item {
  const marks: { at: number; isCall: boolean; item: Item }[] = [];
  calls.forEach(({ calledAt, returnedAt }, id) => {
    const end: Item = { id, end: null, previous: null, next: null };
    const start: Item = { id, end, previous: null, next: null };
    marks.push({ at: calledAt, isCall: true, item: start });
    // A call that never returned may be done at any time, or never: its return is left out.
    if (returnedAt !== Infinity) marks.push({ at: returnedAt, isCall: false, item: end });
  });
  marks.sort((left, right) => left.at - right.at || Number(right.isCall) - Number(left.isCall));
  const head: Item = { id: -1, end: null, previous: null, next: null };
  let last = head;
  for (const { item } of marks) {
    last.next = item;
    item.previous = last;
    last = item;
  }
  return head;
}

function liftOut(item: Item): void {
  unlink(item);
  if (item.end !== null && item.end.previous !== null) unlink(item.end);
}

function putBack(item: Item): void {
  if (item.end !== null && item.end.previous !== null) relink(item.end);
  relink(item);
}

function unlink({ previous, next }: Item): void {
  if (previous !== null) previous.next = next;
  if (next !== null) next.previous = previous;
}

function relink(item: Item): void {
  if (item.previous !== null) item.previous.next = item;
  if (item.next !== null) item.next.previous = item;
}
