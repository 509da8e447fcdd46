// One test per claim of the Raft thesis (Ongaro, "Consensus: Bridging Theory and Practice", 2014)
// that this core makes its own, named by the claim and its section.
import { expect, test } from "vitest";
import type { MemberId } from "../../src/base/ids.ts";
import type { Entry } from "../../src/raft/entry.ts";
import type { Message } from "../../src/raft/message.ts";
import { Ledger } from "./ledger.ts";
import { World } from "./world.ts";

type Sent<Type extends Message["type"]> = Extract<Message, { type: Type }>;

const empty = new Uint8Array(0);

function member(id: string): MemberId {
  return id as MemberId;
}

function entry(term: number, index: number): Entry {
  return { term, index, kind: "normal", data: empty };
}

function makeWorld(shape: ConstructorParameters<typeof World>[0]): World {
  const ledger = new Ledger();
  const world = new World(shape, ledger);
  ledger.watch(world);
  return world;
}

/** Member 1 leads; everything is settled. */
function ledWorld(voters = 3, limits = {}): World {
  const world = makeWorld({ voters, limits });
  world.campaign("1");
  world.settle();
  expect(world.raft("1").status().role).toBe("leader");
  return world;
}

/** Gives a member a log and a term as another leader would have. */
function feed(world: World, id: string, from: string, term: number, entries: Entry[]): void {
  const previous = { term: 0, index: 0 };
  const message = { from: member(from), to: member(id), term, previous, entries, commit: 0 };
  world.deliver({ type: "append", ...message });
  world.sync(id);
  world.network = [];
}

function sent<Type extends Message["type"]>(world: World, type: Type): Sent<Type>[] {
  return world.network.filter((message): message is Sent<Type> => message.type === type);
}

test("3.3: a member that sees a larger term takes it over and follows", () => {
  const world = ledWorld();
  const append = { from: member("2"), to: member("1"), term: 7, entries: [], commit: 0 };
  world.deliver({ type: "append", ...append, previous: { term: 0, index: 0 } });
  expect(world.raft("1").status()).toMatchObject({ role: "follower", term: 7, leader: "2" });
});

test("3.3: a message of a stale term changes nothing, and its sender is told the term", () => {
  const world = ledWorld();
  feed(world, "2", "3", 5, [entry(1, 1)]);
  const before = world.raft("2").status();
  const append = { from: member("1"), to: member("2"), term: 1, entries: [], commit: 0 };
  world.deliver({ type: "append", ...append, previous: { term: 0, index: 0 } });
  expect(world.raft("2").status()).toEqual(before);
  expect(world.network).toMatchObject([{ to: "1", term: 5, granted: false }]);
});

test("3.4: members start as followers", () => {
  for (const { raft } of makeWorld({ voters: 3 }).members.values()) {
    expect(raft?.status()).toMatchObject({ role: "follower", term: 0, leader: null });
  }
});

test("3.4: a leader sends heartbeats to all followers, every heartbeat interval", () => {
  const world = ledWorld(3, { heartbeatTicks: 3 });
  for (let ticks = 1; ticks <= 9; ticks++) {
    world.tick("1");
    expect(sent(world, "heartbeat")).toHaveLength(2 * Math.floor(ticks / 3));
  }
});

test("3.4: election timeouts are random, from the minimum to under its double", () => {
  const seen = new Set<number>();
  for (let seed = 1; seed <= 200; seed++) {
    const world = makeWorld({ voters: 3, seed });
    let ticks = 0;
    while (world.raft("2").status().role === "follower") {
      world.tick("2");
      ticks++;
    }
    seen.add(ticks);
  }
  expect(Math.min(...seen)).toBe(10);
  expect(Math.max(...seen)).toBe(19);
  expect(seen.size).toBe(10);
});

test("3.4: a candidate wins with votes of a majority of the full cluster", () => {
  for (const [voters, others, wins] of [
    [3, 1, true],
    [5, 1, false],
    [5, 2, true],
    [7, 2, false],
    [7, 3, true],
  ] as const) {
    const world = makeWorld({ voters });
    world.campaign("1");
    world.settle(({ from, to }) => Math.max(Number(from), Number(to)) > 1 + others);
    expect(world.raft("1").status().role === "leader").toBe(wins);
  }
});

test("3.4: a voter votes for at most one candidate in a term, first come first served", () => {
  const world = makeWorld({ voters: 3 });
  const vote = { to: member("3"), term: 1, last: { term: 0, index: 0 } };
  world.deliver({ type: "vote", from: member("1"), ...vote });
  world.deliver({ type: "vote", from: member("2"), ...vote });
  world.sync("3");
  const answers = sent(world, "voteResponse").map(({ to, granted }) => [to, granted]);
  expect(answers).toEqual([
    ["1", true],
    ["2", false],
  ]);
});

test("3.4: a candidate that hears the leader of its term follows it", () => {
  const world = makeWorld({ voters: 3 });
  world.campaign("1");
  world.settle(({ type }) => type === "vote");
  expect(world.raft("1").status()).toMatchObject({ role: "candidate", term: 1 });
  const envelope = { from: member("2"), to: member("1"), term: 1 };
  world.deliver({ type: "heartbeat", ...envelope, round: 1, commit: 0 });
  expect(world.raft("1").status()).toMatchObject({ role: "follower", term: 1, leader: "2" });
});

test("3.5: a leader appends a command, replicates it, and commits it with a majority", () => {
  const world = ledWorld();
  world.raft("1").propose([new Uint8Array([7])], 1);
  world.pump("1");
  world.settle(({ from, to }) => from === "3" || to === "3");
  expect(world.raft("1").status().commit).toBe(2);
  expect(world.member("1").applied).toBe(2);
  expect(world.member("2").disk.log.at(2).data).toEqual(new Uint8Array([7]));
});

test("3.5: followers learn the commit index and apply in log order", () => {
  const world = ledWorld();
  world.raft("1").propose([new Uint8Array([1]), new Uint8Array([2])], 2);
  world.settle();
  for (const { applied } of world.members.values()) expect(applied).toBe(3);
});

test("3.5: a follower refuses an append whose previous entry it does not have", () => {
  for (const [previous, agrees] of [
    [{ term: 0, index: 0 }, true],
    [{ term: 1, index: 1 }, true],
    [{ term: 2, index: 2 }, true],
    [{ term: 1, index: 2 }, false],
    [{ term: 3, index: 3 }, false],
  ] as const) {
    const world = makeWorld({ voters: 3 });
    feed(world, "1", "2", 2, [entry(1, 1), entry(2, 2)]);
    const append = {
      from: member("2"),
      to: member("1"),
      term: 2,
      previous,
      entries: [],
      commit: 0,
    };
    world.deliver({ type: "append", ...append });
    world.settle();
    world.deliver({ type: "append", ...append });
    expect(sent(world, "appendRejection").length > 0).toBe(!agrees);
  }
});

// Raft thesis, Figure 3.6: the leader's log against those of followers (a) to (f).
test("3.5: a leader brings every follower's log to its own, missing or extra entries alike", () => {
  const leaderTerms = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
  for (const terms of [
    [1, 1, 1, 4, 4, 5, 5, 6, 6],
    [1, 1, 1, 4],
    [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    [1, 1, 1, 4, 4, 4, 4],
    [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
  ]) {
    const world = new World({ voters: 3 });
    feed(
      world,
      "1",
      "3",
      7,
      leaderTerms.map((term, i) => entry(term, i + 1)),
    );
    feed(
      world,
      "2",
      "3",
      7,
      terms.map((term, i) => entry(term, i + 1)),
    );
    world.raft("1").leaderDisconnected(member("3"));
    world.crash("2");
    world.campaign("1");
    world.settle();
    world.restart("2");
    world.settle();
    for (let ticks = 0; ticks < 6; ticks++) {
      world.tick("1");
      world.settle();
    }
    const { log } = world.member("2").disk;
    expect(log.entries.map(({ term }) => term)).toEqual([...leaderTerms, 8]);
    expect(log.hashAt(11)).toBe(world.member("1").disk.log.hashAt(11));
  }
});

test("3.5: the leader never overwrites or deletes entries in its own log", () => {
  const world = ledWorld();
  world.raft("1").propose([new Uint8Array([1])], 3);
  world.pump("1");
  const rejection = { from: member("2"), to: member("1"), term: 1 };
  const hint = { term: 0, index: 0 };
  world.deliver({ type: "appendRejection", ...rejection, previous: 2, hint });
  world.settle();
  expect(world.raft("1").status().last).toBe(2);
});

test("3.6.1: a voter refuses a candidate whose log is less up to date than its own", () => {
  for (const [last, granted] of [
    [{ term: 2, index: 2 }, true],
    [{ term: 2, index: 3 }, true],
    [{ term: 3, index: 1 }, true],
    [{ term: 2, index: 1 }, false],
    [{ term: 1, index: 9 }, false],
  ] as const) {
    const world = makeWorld({ voters: 3 });
    feed(world, "3", "2", 2, [entry(1, 1), entry(2, 2)]);
    world.raft("3").leaderDisconnected(member("2"));
    world.deliver({ type: "vote", from: member("1"), to: member("3"), term: 4, last });
    world.sync("3");
    expect(sent(world, "voteResponse")).toMatchObject([{ term: 4, granted }]);
  }
});

test("3.6.2: a leader commits entries of earlier terms only with one of its own", () => {
  const world = new World({ voters: 3 });
  feed(world, "1", "3", 1, [entry(1, 1), entry(1, 2)]);
  world.raft("1").leaderDisconnected(member("3"));
  world.campaign("1");
  // The entry of the new term is lost on its way; the old ones arrive.
  world.settle(
    (message) => message.type === "append" && message.entries.some((one) => one.term > 1),
  );
  expect(world.raft("1").status()).toMatchObject({ role: "leader", term: 2, commit: 0, last: 3 });
  const response = { from: member("2"), to: member("1"), term: 2 };
  world.deliver({ type: "appendResponse", ...response, match: 2 });
  expect(world.raft("1").status().commit).toBe(0);
  world.deliver({ type: "appendResponse", ...response, match: 3 });
  expect(world.raft("1").status().commit).toBe(3);
});

test("3.8: term, vote and log survive a crash, and a voter never votes twice for it", () => {
  const world = makeWorld({ voters: 3 });
  const vote = { to: member("3"), term: 4, last: { term: 0, index: 0 } };
  world.deliver({ type: "vote", from: member("1"), ...vote });
  world.sync("3");
  world.crash("3");
  world.restart("3");
  expect(world.raft("3").status().term).toBe(4);
  world.deliver({ type: "vote", from: member("2"), ...vote });
  world.settle(() => true);
  expect(world.member("3").disk.hardState.vote).toBe("1");
});

test("3.8: nothing that relies on the disk is said before the disk has it", () => {
  const world = makeWorld({ voters: 3 });
  const vote = { from: member("1"), to: member("3"), term: 4, last: { term: 0, index: 0 } };
  world.deliver({ type: "vote", ...vote });
  expect(world.network).toEqual([]);
  world.sync("3");
  expect(sent(world, "voteResponse")).toHaveLength(1);
});

test("3.9: with a majority the cluster goes on, without one nothing commits", () => {
  const world = ledWorld(5);
  world.crash("4");
  world.crash("5");
  world.raft("1").propose([empty], 4);
  world.settle();
  expect(world.raft("1").status().commit).toBe(2);
  world.crash("3");
  world.raft("1").propose([empty], 5);
  world.settle();
  expect(world.raft("1").status().commit).toBe(2);
});

test("4.2.1: a learner gets the log and is counted for nothing", () => {
  const world = makeWorld({ voters: 3, learners: 1 });
  world.campaign("1");
  world.settle();
  expect(world.member("4").applied).toBe(1);
  world.raft("1").propose([empty], 6);
  world.settle(({ from, to }) => ["2", "3"].includes(from) || ["2", "3"].includes(to));
  expect(world.member("4").disk.log.last()).toBe(2);
  expect(world.raft("1").status().commit).toBe(1);
  for (let ticks = 0; ticks < 40; ticks++) world.tick("4");
  expect(world.raft("4").status().role).toBe("follower");
});

test("4.2.3: a member that hears its leader lets no vote disturb it", () => {
  const world = ledWorld();
  const last = { term: 9, index: 99 };
  for (const id of ["1", "2"]) {
    world.deliver({ type: "vote", from: member("3"), to: member(id), term: 9, last });
    expect(world.raft(id).status().term).toBe(1);
  }
  expect(world.network).toEqual([]);
});

test("6.2: a leader without a majority's answers for an election timeout steps down", () => {
  const world = ledWorld();
  for (let ticks = 0; ticks < 10; ticks++) world.tick("1");
  expect(world.raft("1").status()).toMatchObject({ role: "follower", term: 1, leader: null });
});

test("6.4: a read waits for a round of heartbeats that started after it", () => {
  const reads: number[] = [];
  const world = new World({ voters: 3 }, { read: (_, { request }) => void reads.push(request) });
  world.campaign("1");
  world.settle();
  world.raft("1").readIndex(1);
  world.pump("1");
  const [beat] = sent(world, "heartbeat");
  expect(beat?.round).toBe(2);
  const answer = { from: member("2"), to: member("1"), term: 1 };
  world.deliver({ type: "heartbeatResponse", ...answer, round: 1 });
  expect(reads).toEqual([]);
  world.deliver({ type: "heartbeatResponse", ...answer, round: 2 });
  expect(reads).toEqual([1]);
});

test("9.6: a pre-vote raises no term and casts no vote", () => {
  const world = makeWorld({ voters: 3 });
  world.campaign("1");
  for (const message of world.network.splice(0)) world.deliver(message);
  for (const id of ["1", "2", "3"]) {
    expect(world.raft(id).status().term).toBe(0);
    expect(world.member(id).writes).toEqual([]);
  }
});

test("10.2.1: the leader writes its disk in parallel with its followers", () => {
  const world = ledWorld();
  world.raft("1").propose([empty], 7);
  world.pump("1");
  expect(sent(world, "append")).toHaveLength(2);
  expect(world.raft("1").status()).toMatchObject({ last: 2, durable: 1 });
  // A majority of followers alone may commit it; the leader applies it when it is durable here.
  for (const message of world.network.splice(0)) world.deliver(message);
  world.sync("2");
  world.sync("3");
  for (const message of world.network.splice(0)) world.deliver(message);
  expect(world.raft("1").status().commit).toBe(2);
  expect(world.member("1").applied).toBe(1);
  world.sync("1");
  expect(world.member("1").applied).toBe(2);
});
