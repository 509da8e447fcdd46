// The two checks of client histories: both accept good ones, and each anomaly, written by hand or
// made by changing one thing in a good history, is named by the check by revision and refused by
// the search.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkByRevision } from "./by-revision.ts";
import type { Answer, Call, Operation, OperationOutcome } from "./operation.ts";
import { revisionOf } from "./operation.ts";
import { checkLinearizable } from "./search.ts";
import type { Effect } from "./sequential-model.ts";
import { bytes, get, goodStory, put, remove, SingleCopy, swap } from "./stories.ts";
import type { Story } from "./stories.ts";

const statesMax = 200_000;

/** One after the other: at 10, 20, 30, ..., each answered 5 later. */
function inTurn(steps: readonly (readonly [Call, OperationOutcome])[]): Operation[] {
  return steps.map(([call, outcome], i) => {
    const called = 10 * (i + 1);
    const returned = outcome.type === "unknown" ? Infinity : called + 5;
    return { client: `c${i}`, call, outcome, called, returned };
  });
}

const ok = (effect: Effect): OperationOutcome =>
  effect.type === "done" ? { type: "ok", response: effect.response } : effect;
const unknown: OperationOutcome = { type: "unknown" };

function doneAll(copy: SingleCopy, ...calls: Call[]): [Call, OperationOutcome][] {
  return calls.map((call) => [call, ok(copy.apply(call))]);
}

function expectBad(story: Story, anomaly: RegExp, verdict = "not linearizable"): void {
  const found = checkByRevision(story).map(({ message }) => message);
  expect(found.join("\n")).toMatch(anomaly);
  expect(checkLinearizable(story, { statesMax }).verdict).toBe(verdict);
}

function expectGood(story: Story): void {
  expect(checkByRevision(story).map(({ message }) => message)).toEqual([]);
  expect(checkLinearizable(story, { statesMax }).verdict).toBe("linearizable");
}

describe("good histories", () => {
  test("checkByRevision and checkLinearizable find nothing in what a single copy did", () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 120 }), (seed, count) => {
        expectGood(goodStory(seed, count));
      }),
      { numRuns: 150 },
    );
  });

  test("checkByRevision lets a serializable read be old", () => {
    const copy = new SingleCopy();
    const old = ok(copy.apply(get("a")));
    const steps = doneAll(copy, put("a", "1"));
    const operations = inTurn([...steps, [get("a", { serializable: true }), old]]);
    expectGood({ operations, log: copy.log });
  });

  test("checkLinearizable explains keys that went with leases by the expiry it is given", () => {
    const copy = new SingleCopy();
    const grant: Call = { type: "leaseGrant", request: { ID: "7", TTL: 5 } };
    const leased: Call = { type: "put", request: { ...putRequest("a"), lease: "7" } };
    const expire: Call = { type: "leaseExpire", request: { IDs: ["7"] } };
    const steps = doneAll(copy, grant, leased, expire, get("a"));
    const told = steps.map(([call, outcome]): [Call, OperationOutcome] => {
      return [call, call.type === "leaseExpire" ? unknown : outcome];
    });
    expectGood({ operations: inTurn(told), log: copy.log });
    const without = inTurn(told).filter(({ call }) => call.type !== "leaseExpire");
    expect(checkLinearizable({ operations: without }, { statesMax }).verdict).toBe(
      "not linearizable",
    );
  });
});

describe("anomalies", () => {
  test("a stale read is found", () => {
    const copy = new SingleCopy();
    const first = doneAll(copy, put("a", "1"));
    const stale = ok(copy.apply(get("a")));
    const second = doneAll(copy, put("a", "2"));
    expectBad(
      { operations: inTurn([...first, ...second, [get("a"), stale]]), log: copy.log },
      /stale read/,
    );
  });

  test("a future read is found", () => {
    const copy = new SingleCopy();
    copy.apply(put("a", "1"));
    const [early] = doneAll(copy, get("a"));
    const told = new SingleCopy();
    const write = doneAll(told, put("a", "1"));
    expect(early).toBeDefined();
    if (early !== undefined) {
      expectBad({ operations: inTurn([early, ...write]), log: copy.log }, /future read/);
    }
  });

  test("a lost write is found", () => {
    const copy = new SingleCopy();
    const lost = ok(new SingleCopy().apply(put("a", "1")));
    const steps = doneAll(copy, get("a"));
    expectBad(
      { operations: inTurn([[put("a", "1"), lost], ...steps]), log: copy.log },
      /G1: lost write/,
    );
    const other = doneAll(copy, put("b", "2"));
    expectBad(
      { operations: inTurn([[put("a", "1"), lost], ...other]), log: copy.log },
      /G1: lost write/,
    );
  });

  test("a duplicate apply is found", () => {
    const copy = new SingleCopy();
    const steps = doneAll(copy, put("a", "1"));
    copy.apply(put("a", "1"));
    steps.push(...doneAll(copy, get("a")));
    expectBad({ operations: inTurn(steps), log: copy.log }, /I28: revision 3 was made by no/);
  });

  test("an unknown write may be applied once, late or never, but not twice", () => {
    const copy = new SingleCopy();
    const before = doneAll(copy, get("a"));
    copy.apply(put("a", "1"));
    const after = doneAll(copy, get("a"));
    const lost: [Call, OperationOutcome] = [put("a", "1"), unknown];
    expectGood({ operations: inTurn([lost, ...before, ...after]), log: copy.log });
    expectGood({ operations: inTurn([lost, ...before]), log: [] });
    copy.apply(put("a", "1"));
    const twice = doneAll(copy, get("a"));
    expectBad({ operations: inTurn([lost, ...before, ...after, ...twice]), log: copy.log }, /I28/);
  });

  test("an unknown write that was seen before it was called is found", () => {
    const copy = new SingleCopy();
    copy.apply(put("a", "1"));
    const seen = doneAll(copy, get("a"));
    expectBad({ operations: inTurn([...seen, [put("a", "1"), unknown]]), log: copy.log }, /I28/);
  });

  test("reordered writes are found", () => {
    const copy = new SingleCopy();
    const steps = doneAll(copy, put("a", "1"), put("b", "2"));
    expectBad({ operations: inTurn(steps.toReversed()), log: copy.log }, /reordered/);
  });

  test("a wrong revision is found, with a right value", () => {
    const copy = new SingleCopy();
    const steps = doneAll(copy, put("a", "1"), put("a", "2"), get("a"));
    const lie = steps.map(([call, outcome]): [Call, OperationOutcome] => {
      return [call, call.type === "range" ? moved(outcome, -1) : outcome];
    });
    expectBad({ operations: inTurn(lie), log: copy.log }, /G2: wrong answer for revision 2/);
  });

  test("a lost update in a transaction is found", () => {
    const copy = new SingleCopy();
    const steps = doneAll(copy, put("a", "0"));
    const won = new SingleCopy();
    won.apply(put("a", "0"));
    won.apply(put("z", "z"));
    steps.push(...doneAll(copy, swap("a", "0", "1")));
    // Told that it won from the same value, though the first had changed it.
    steps.push([swap("a", "0", "2"), ok(won.apply(swap("a", "0", "2")))]);
    copy.apply(put("a", "2"));
    expectBad(
      { operations: inTurn(steps), log: copy.log },
      /G2: wrong answer for revision 4.*\nI28/,
    );
  });

  test("wrong refusals are found", () => {
    const copy = new SingleCopy();
    const steps = doneAll(copy, put("a", "1"));
    const refuse = (call: Call, code: "futureRev" | "compacted" | "keyNotFound") =>
      expectBad(
        { operations: inTurn([...steps, [call, { type: "refused", code }]]), log: copy.log },
        /refusal|compacted/,
      );
    refuse(get("a", { revision: 2 }), "futureRev");
    refuse(get("a", { revision: 1 }), "compacted");
    refuse({ type: "put", request: { ...putRequest("a"), ignoreValue: true } }, "keyNotFound");
  });

  test("a read below the compaction is found", () => {
    const copy = new SingleCopy();
    const steps = doneAll(copy, put("a", "1"), put("a", "2"), get("a", { revision: 2 }));
    const compaction: Call = { type: "compaction", request: { revision: 3, physical: false } };
    const [read] = steps.splice(2);
    steps.push(...doneAll(copy, compaction));
    if (read !== undefined) steps.push(read);
    expectBad({ operations: inTurn(steps), log: copy.log }, /below the compaction/);
  });

  test("checkLinearizable tells the longest legal prefix, and unknown at its bound", () => {
    const copy = new SingleCopy();
    const steps = doneAll(copy, put("a", "1"), put("a", "2"), get("a"));
    const operations = inTurn([...steps, [get("a"), moved(steps[2]?.[1] ?? unknown, 9)]]);
    const { verdict, prefix } = checkLinearizable({ operations }, { statesMax });
    expect(verdict).toBe("not linearizable");
    expect(prefix).toEqual(operations.slice(0, 3));
    expect(checkLinearizable({ operations }, { statesMax: 2 }).verdict).toBe("unknown");
  });
});

describe("one change to a good history", () => {
  const stories = fc.tuple(fc.integer(), fc.nat());
  const puts = ({ operations }: Story) =>
    operations.filter(({ call, outcome }) => call.type === "put" && outcome.type === "ok");
  const rejected = (story: Story, isSearched: boolean) => {
    expect(checkByRevision(story)).not.toEqual([]);
    if (!isSearched) return;
    expect(checkLinearizable(story, { statesMax }).verdict).toBe("not linearizable");
  };

  function change(isSearched: boolean, make: (story: Story, pick: number) => Story | null): void {
    fc.assert(
      fc.property(stories, ([seed, pick]) => {
        const changed = make(goodStory(seed, 60), pick);
        fc.pre(changed !== null);
        if (changed !== null) rejected(changed, isSearched);
      }),
      { numRuns: 100 },
    );
  }

  test("a dropped write is rejected", () => {
    change(false, (story, pick) => {
      const dropped = puts(story)[pick % puts(story).length];
      const operations = story.operations.filter((one) => one !== dropped);
      return dropped === undefined ? null : { ...story, operations };
    });
  });

  test("a duplicated write is rejected", () => {
    change(true, (story, pick) => {
      const twice = puts(story)[pick % puts(story).length];
      return twice === undefined ? null : { ...story, operations: [...story.operations, twice] };
    });
  });

  test("two swapped answers are rejected", () => {
    change(true, (story, pick) => {
      const i = pick % puts(story).length;
      const first = puts(story)[i];
      const second = puts(story).find((one) => first !== undefined && first.returned < one.called);
      if (first === undefined || second === undefined) return null;
      const operations = story.operations.map((one) => {
        if (one === first) return { ...one, outcome: second.outcome };
        return one === second ? { ...one, outcome: first.outcome } : one;
      });
      return { ...story, operations };
    });
  });

  test("an answer with another revision is rejected", () => {
    change(true, (story, pick) => {
      const told = story.operations.filter(({ outcome }) => outcome.type === "ok");
      const liar = told[pick % told.length];
      const operations = story.operations.map((one) => {
        return one === liar ? { ...one, outcome: moved(one.outcome, 1000) } : one;
      });
      return liar === undefined ? null : { ...story, operations };
    });
  });

  test("a revision dropped from the log, doubled in it or swapped with the next is rejected", () => {
    change(false, ({ operations, log }, pick) => {
      const at = pick % (log.length - 1);
      const [one, next] = [log[at], log[at + 1]];
      if (one === undefined || next === undefined) return null;
      const made = [[next], [one, one, next], [next, one]][pick % 3] ?? [];
      const events = [...log.slice(0, at), ...made, ...log.slice(at + 2)];
      return { operations, log: events.map(({ events }, i) => ({ revision: i + 2, events })) };
    });
  });
});

test("checkByRevision judges a hundred thousand operations in seconds", () => {
  const story = goodStory(1, 100_000, 0.01);
  const start = performance.now();
  expect(checkByRevision(story)).toEqual([]);
  expect(performance.now() - start).toBeLessThan(10_000);
});

test("two deletes that fit the same revision do not take it from each other", () => {
  const copy = new SingleCopy();
  const steps = doneAll(copy, put("a", "1"));
  copy.apply(remove("a"));
  steps.push([remove("a"), unknown], [remove("a"), unknown]);
  steps.push(...doneAll(copy, put("a", "2")));
  copy.apply(remove("a"));
  steps.push(...doneAll(copy, get("a")));
  expectGood({ operations: inTurn(steps), log: copy.log });
});

function putRequest(key: string) {
  const value = new Uint8Array(0);
  const options = { lease: "0", prevKv: false, ignoreValue: false, ignoreLease: false };
  return { key: bytes(key), value, ...options };
}

function moved(outcome: OperationOutcome, by: number): OperationOutcome {
  if (outcome.type !== "ok") return outcome;
  const revision = revisionOf(outcome.response) + by;
  const header = { clusterId: "0", memberId: "0", raftTerm: 0, revision };
  const response: Answer = { ...outcome.response, header };
  return { type: "ok", response };
}
