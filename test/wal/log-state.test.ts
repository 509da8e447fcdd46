import { describe, expect, test } from "vitest";
import { DecodeError } from "../../src/raft/codec.ts";
import { LogState } from "../../src/wal/log-state.ts";
import { RecordBuffer, type Checkpoint } from "../../src/wal/record.ts";
import { cluster, configuration, entries, member } from "../contract/log.ts";
import { store } from "./settle.ts";

const checkpoint: Checkpoint = {
  identity: { cluster, member, store, start: 3 },
  base: { term: 0, index: 0 },
  lastIndex: 0,
  hardState: { term: 1, vote: null, commit: 0 },
  configuration,
};
const place = { segment: 1, page: 0 };

function records(fill: (buffer: RecordBuffer) => void): Uint8Array {
  const buffer = new RecordBuffer();
  fill(buffer);
  return buffer.take();
}

function stateWith(count: number): LogState {
  const state = new LogState(checkpoint);
  const batch = records((buffer) => {
    for (const entry of entries(1, count)) buffer.addEntry(entry);
  });
  state.apply(batch, place, 0);
  return state;
}

describe("LogState", () => {
  test("replays truncations and entries in their order", () => {
    const state = stateWith(5);
    const batch = records((buffer) => {
      buffer.addTruncate(3);
      for (const entry of entries(3, 4, 2)) buffer.addEntry(entry);
      buffer.addHardState({ term: 2, vote: member, commit: 2 });
    });
    expect(state.checkRecords(batch)).toHaveLength(4);
    state.apply(batch, place, 0);
    expect(state.lastIndex()).toBe(4);
    expect(state.hardState()).toEqual({ term: 2, vote: member, commit: 2 });
  });

  test("refuses entries with a gap and truncations outside the log", () => {
    const state = stateWith(3);
    const gap = records((buffer) => entries(5, 5).forEach((entry) => buffer.addEntry(entry)));
    expect(() => state.checkRecords(gap)).toThrow("entry 5 follows entry 3");
    for (const from of [0, 4]) {
      const truncate = records((buffer) => buffer.addTruncate(from));
      expect(() => state.checkRecords(truncate)).toThrow(DecodeError);
      expect(() => state.apply(truncate, place, 0)).toThrow(DecodeError);
    }
  });

  test("takes a later checkpoint only when it says what the log says", () => {
    const { identity } = checkpoint;
    const same: Checkpoint = { ...checkpoint, identity: { ...identity, start: 4 } };
    const wrong: Checkpoint[] = [
      { ...checkpoint, lastIndex: 1 },
      { ...checkpoint, base: { term: 0, index: 1 } },
      { ...checkpoint, hardState: { term: 1, vote: member, commit: 0 } },
      { ...checkpoint, configuration: { voters: [member], learners: [] } },
      { ...checkpoint, identity: { ...identity, start: 2 } },
      { ...checkpoint, identity: { ...identity, member: configuration.voters[1] ?? member } },
    ];
    const state = new LogState(checkpoint);
    const batch = records((buffer) => buffer.addCheckpoint(same));
    state.checkRecords(batch);
    state.apply(batch, place, 0);
    expect(state.identity().start).toBe(4);
    for (const one of wrong) {
      const bad = records((buffer) => buffer.addCheckpoint(one));
      expect(() => new LogState(checkpoint).checkRecords(bad)).toThrow(
        "the checkpoint does not say",
      );
    }
  });
});
