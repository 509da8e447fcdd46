// A state store driven like the node drives it (commands, compaction, flushes, restarts), beside
// the naive model. Commands are kept, so that what a crash loses is applied again.
import { expect } from "vitest";
import * as fc from "fast-check";
import type { LeaseId } from "../../src/base/ids.ts";
import { RangeRequest } from "../../src/proto/etcdserverpb/kv.ts";
import { openState } from "../../src/server/open-state.ts";
import type { OpenedState } from "../../src/server/open-state.ts";
import type { BackendPlace } from "../../src/store/backend.ts";
import { MvccModel, plain } from "../state/mvcc-model.ts";

export type Write =
  | { type: "put"; key: Uint8Array; value: Uint8Array; lease: LeaseId }
  | { type: "delete"; key: Uint8Array; rangeEnd: Uint8Array };

export type Command =
  { type: "write"; writes: readonly Write[] } | { type: "compact"; back: number };

export type Step =
  | Command
  | { type: "range"; request: RangeRequest; back: number }
  | { type: "compactStep"; rowsMax: number }
  | { type: "flush" }
  | { type: "restart" };

/** Damage is never expected here: a rebuild would hide a check that is wrong. */
export async function openPlace(place: BackendPlace): Promise<OpenedState> {
  const opening = await place.open();
  const state = opening.type === "open" ? await openState(opening.backend) : opening;
  if (state.type !== "open") throw new Error(JSON.stringify(state));
  return state.state;
}

export class StateDriver {
  readonly model = new MvccModel();
  readonly #place: BackendPlace;
  #state: OpenedState;
  // Entry n is at n - 1; compactions with their revision fixed.
  readonly #commands: ((state: OpenedState) => void)[] = [];

  private constructor(place: BackendPlace, state: OpenedState) {
    this.#place = place;
    this.#state = state;
  }

  static async open(place: BackendPlace): Promise<StateDriver> {
    return new StateDriver(place, await openPlace(place));
  }

  state(): OpenedState {
    return this.#state;
  }

  write(writes: readonly Write[]): void {
    this.model.begin();
    let hasChanged = false;
    for (const write of writes) {
      if (write.type === "put") this.model.put(write.key, write.value, write.lease);
      const removed =
        write.type === "delete" ? this.model.deleteRange(write.key, write.rangeEnd) : [];
      if (write.type === "put" || removed.length > 0) hasChanged = true;
    }
    this.model.end(hasChanged);
    this.#apply(({ mvcc }) => {
      const changes = mvcc.begin();
      for (const write of writes) {
        if (write.type === "put") changes.put(write.key, write.value, write.lease);
        else changes.deleteRange(write.key, write.rangeEnd, { values: true });
      }
      changes.end();
    });
    expect(this.#state.mvcc.revision()).toBe(this.model.revision);
  }

  compact(back: number): void {
    const revision = Math.max(0, this.model.revision - back);
    if (revision > this.model.compactRevision) this.model.compactRevision = revision;
    this.#apply(({ mvcc }) => void mvcc.compact(revision));
    expect(this.#state.mvcc.compactRevision()).toBe(this.model.compactRevision);
  }

  /** The process dies and starts again: what was not flushed is applied from the log. */
  async restart(): Promise<void> {
    const { keyCount, digest } = this.#state.mvcc.summary();
    this.#state = await openPlace(this.#place);
    const { index } = this.#state.store.applied;
    for (const command of this.#commands.slice(index)) this.#run(command);
    expect(this.#state.mvcc.summary()).toEqual({
      revision: this.model.revision,
      compactRevision: this.model.compactRevision,
      keyCount,
      digest,
    });
  }

  async step(step: Step): Promise<void> {
    switch (step.type) {
      case "write":
        return this.write(step.writes);
      case "compact":
        return this.compact(step.back);
      case "range": {
        const revision = this.model.revision - step.back;
        const floor = Math.max(this.model.compactRevision, 1);
        const request = { ...step.request, revision: revision < floor ? 0 : revision };
        return this.expectRange(request);
      }
      case "compactStep":
        this.#state.mvcc.compactStep(step.rowsMax);
        return;
      case "flush":
        return this.#state.store.flush();
      case "restart":
        return this.restart();
    }
  }

  expectRange(request: RangeRequest): void {
    const answer = this.#state.mvcc.range(request);
    if (typeof answer === "string") throw new Error(answer);
    expect(plain(answer)).toEqual(plain(this.model.range(request)));
    expect(answer.header?.revision).toBe(this.model.revision);
  }

  #apply(command: (state: OpenedState) => void): void {
    this.#commands.push(command);
    this.#run(command);
  }

  #run(command: (state: OpenedState) => void): void {
    const { mvcc, store } = this.#state;
    command(this.#state);
    store.commit({ index: store.applied.index + 1, term: 1, ...mvcc.summary() });
  }
}

const keyBytes = fc.uint8Array({ minLength: 1, maxLength: 2, max: 3 });
const rangeEndBytes = fc.oneof(
  fc.constant(new Uint8Array(0)),
  fc.constant(Uint8Array.of(0)),
  keyBytes,
);
const bound = fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.integer({ min: -1, max: 20 }));

export const rangeRequests: fc.Arbitrary<RangeRequest> = fc
  .record({
    key: keyBytes,
    rangeEnd: rangeEndBytes,
    limit: fc.oneof(fc.constant(0), fc.integer({ min: -1, max: 5 })),
    sortOrder: fc.constantFrom(0, 1, 2),
    sortTarget: fc.constantFrom(0, 1, 2, 3, 4),
    keysOnly: fc.boolean(),
    countOnly: fc.boolean(),
    minModRevision: bound,
    maxModRevision: bound,
    minCreateRevision: bound,
    maxCreateRevision: bound,
  })
  .map((fields) => RangeRequest.fromPartial(fields));

const writes: fc.Arbitrary<Write> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant("put" as const),
      key: keyBytes,
      value: fc.uint8Array({ maxLength: 3 }),
      lease: fc.constantFrom("0", "7", "-1", "9223372036854775807") as fc.Arbitrary<LeaseId>,
    }),
  },
  fc.record({ type: fc.constant("delete" as const), key: keyBytes, rangeEnd: rangeEndBytes }),
);

const back = fc.integer({ min: 0, max: 12 });

export const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({
        type: fc.constant("write" as const),
        writes: fc.array(writes, { maxLength: 4 }),
      }),
    },
    {
      weight: 8,
      arbitrary: fc.record({ type: fc.constant("range" as const), request: rangeRequests, back }),
    },
    { weight: 1, arbitrary: fc.record({ type: fc.constant("compact" as const), back }) },
    {
      weight: 2,
      arbitrary: fc.record({
        type: fc.constant("compactStep" as const),
        rowsMax: fc.integer({ min: 1, max: 4 }),
      }),
    },
    { weight: 2, arbitrary: fc.constant({ type: "flush" as const }) },
    { weight: 1, arbitrary: fc.constant({ type: "restart" as const }) },
  ),
  { minLength: 1, maxLength: 60, size: "max" },
);
