// Read barriers: shared rounds, new ids for every attempt, and an end for every call.
import { beforeEach, describe, expect, test } from "vitest";
import { Reads } from "../../src/server/reads.ts";
import type { CallLimits } from "../../src/server/call-limits.ts";
import { FakeClock } from "../sim/fake-clock.ts";
import { follow, leadingRaft, lonelyRaft, options } from "./small-raft.ts";

const limits: CallLimits = { deadline: Infinity, signal: new AbortController().signal };

let clock: FakeClock;
let reads: Reads;
let ended: string[];

beforeEach(() => {
  clock = new FakeClock();
  reads = new Reads({ clock }, options);
  ended = [];
});

function read(name: string, given: CallLimits = limits): void {
  reads.barrier(given).then(
    () => ended.push(name),
    (error: unknown) => ended.push(`${name}: ${error instanceof Error ? error.message : ""}`),
  );
}

async function endedSoFar(): Promise<string[]> {
  await Promise.resolve();
  await Promise.resolve();
  return ended;
}

/** The requests that a follower sends to its leader. */
function asked(raft = lonelyRaft()): { hand: () => number[] } {
  follow(raft, 3);
  return {
    hand: () => {
      reads.hand(raft);
      if (!raft.hasReady()) return [];
      return raft.ready().messages.flatMap((m) => (m.type === "readIndex" ? [m.request] : []));
    },
  };
}

describe("reads", () => {
  test("barriers of one turn share one round, and wait for the machine", async () => {
    const raft = leadingRaft();
    read("a");
    read("b");
    reads.hand(raft);
    const confirmed = raft.ready().reads;
    expect(confirmed).toHaveLength(1);
    reads.confirmed(confirmed);
    reads.serve((confirmed[0]?.index ?? 0) - 1);
    expect(await endedSoFar()).toEqual([]);
    reads.serve(confirmed[0]?.index ?? 0);
    expect(await endedSoFar()).toEqual(["a", "b"]);
  });

  test("what comes while all rounds are under way gathers for the next", () => {
    const { hand } = asked();
    for (let i = 0; i < options.readRoundsMax; i++) {
      read(`r${i}`);
      expect(hand()).toHaveLength(1);
    }
    read("later");
    expect(hand()).toEqual([]);
    reads.confirmed([{ request: 1, index: 5 }]);
    expect(hand()).toEqual([options.readRoundsMax + 1]);
  });

  test("an unanswered round is asked anew under another id, and its late answer means nothing", async () => {
    const { hand } = asked();
    read("a");
    expect(hand()).toEqual([1]);
    clock.advance(options.readRetryMs);
    reads.sweep(true);
    expect(hand()).toEqual([2]);
    reads.confirmed([{ request: 1, index: 5 }]);
    reads.serve(9);
    expect(await endedSoFar()).toEqual([]);
    reads.confirmed([{ request: 2, index: 5 }]);
    reads.serve(9);
    expect(await endedSoFar()).toEqual(["a"]);
  });

  test("a failed round is asked anew, but not in the same tick", () => {
    const { hand } = asked();
    read("a");
    expect(hand()).toEqual([1]);
    reads.failed([1]);
    expect(hand()).toEqual([]);
    clock.advance(options.tickMs);
    expect(hand()).toEqual([2]);
  });

  test("sweep ends calls at their deadline, wherever they wait, and says for what", async () => {
    const { hand } = asked();
    read("confirmed");
    hand();
    reads.confirmed([{ request: 1, index: 99 }]);
    read("asked", { ...limits, deadline: 100 });
    hand();
    const caller = new AbortController();
    read("gone", { deadline: Infinity, signal: caller.signal });
    caller.abort();
    clock.advance(200);
    reads.sweep(true);
    expect(await endedSoFar()).toEqual([
      "asked: etcdserver: request timed out",
      "gone: etcdserver: request canceled",
    ]);
    read("leaderless", { ...limits, deadline: 300 });
    clock.advance(200);
    reads.sweep(false);
    expect((await endedSoFar()).at(-1)).toBe("leaderless: etcdserver: no leader");
    clock.advance(options.requestTimeoutMs);
    reads.sweep(true);
    expect((await endedSoFar()).at(-1)).toBe(
      "confirmed: etcdserver: request timed out, waiting for the applied index took too long",
    );
  });

  test("barrier refuses more than its bound, and room comes back with every end", async () => {
    reads = new Reads({ clock }, { ...options, barriersPendingMax: 1 });
    read("a");
    read("b");
    expect(await endedSoFar()).toEqual(["b: etcdserver: too many requests"]);
    clock.advance(options.requestTimeoutMs);
    reads.sweep(true);
    read("c");
    reads.stop();
    expect((await endedSoFar()).slice(1)).toEqual([
      "a: etcdserver: request timed out",
      "c: etcdserver: server stopped",
    ]);
  });
});
