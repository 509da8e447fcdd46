// Whole members in one process, over simulated time, network and disks: what a client may rely on
// while members crash, pause, are cut off, wiped, slow or stopped.
import { afterEach, describe, expect, test } from "vitest";
import { RequestError } from "../../src/base/errors.ts";
import { SimCluster } from "../sim/cluster.ts";
import { noLimits } from "../sim/sim-member.ts";
import type { ClusterOptions, SimMember } from "../sim/sim-member.ts";

let cluster: SimCluster;

async function start(options: Partial<ClusterOptions> = {}): Promise<SimMember> {
  cluster = await SimCluster.start({ size: 3, seed: 1, ...options });
  return cluster.elected();
}

afterEach(() => {
  expect(cluster.fatals).toEqual([]);
});

/** The text of the refusal. */
async function refusal(call: Promise<unknown>): Promise<string> {
  const caught = await cluster.result(
    call.then(
      () => "answered",
      (error: unknown) => (error instanceof RequestError ? error.message : String(error)),
    ),
  );
  return caught;
}

async function put(member: SimMember, key: string, value: string): Promise<void> {
  const outcome = await cluster.result(member.put(key, value));
  expect(outcome.type).toBe("put");
}

describe("node", () => {
  test.each([1, 3, 5])("a cluster of %i elects a leader and takes puts", async (size) => {
    const leader = await start({ size });
    await put(leader, "a", "1");
    for (const member of cluster.members) {
      expect(await cluster.result(member.get("a"))).toBe("1");
    }
    await cluster.converged();
  });

  test("propose and barrier work through every member", async () => {
    await start();
    for (const [i, member] of cluster.members.entries()) await put(member, "k", String(i));
    for (const member of cluster.members) {
      expect(await cluster.result(member.get("k"))).toBe("2");
    }
  });

  test("propose keeps many commands of one member in flight, each with its own outcome", async () => {
    const leader = await start();
    const [follower] = cluster.followers() as [SimMember];
    const calls = Array.from({ length: 500 }, (_, i) => follower.put(`k${i}`, "v"));
    const outcomes = await cluster.result(Promise.all(calls));
    const revisions = outcomes.map(
      (outcome) => outcome.type === "put" && outcome.response.header?.revision,
    );
    expect(new Set(revisions).size).toBe(500);
    expect(leader.node().status().revision).toBe(501);
  });

  test("writes go on within 2 s of the leader's crash, and lose nothing acknowledged", async () => {
    const leader = await start();
    await put(leader, "before", "1");
    const [follower] = cluster.followers() as [SimMember];
    const inFlight = follower.put("during", "2");
    leader.crash();
    const crashedAt = cluster.clock.now();
    await cluster.result(inFlight);
    await put(follower, "after", "3");
    expect(cluster.clock.now() - crashedAt).toBeLessThan(2000);
    await leader.start();
    await cluster.converged();
    for (const member of cluster.members) {
      expect(await member.peek("before")).toBe("1");
      expect(await member.peek("during")).toBe("2");
      expect(await member.peek("after")).toBe("3");
    }
  });

  test("a crashed member loses its unsynced tail, and gets it back from the others", async () => {
    const leader = await start();
    const [slow, other] = cluster.followers() as [SimMember, SimMember];
    slow.syncDelayMs = 400;
    await put(leader, "k", "acknowledged by two");
    expect(await slow.peek("k")).toBeUndefined();
    slow.crash({ keepSyncing: false });
    slow.syncDelayMs = 1;
    await slow.start();
    await cluster.converged();
    expect(await slow.peek("k")).toBe("acknowledged by two");
    const count = slow.disk().entries.length;
    expect(other.disk().entries.slice(0, count)).toEqual(slow.disk().entries);
  });

  test("all members crash at once, and every acknowledged put is there again", async () => {
    const leader = await start();
    for (let i = 0; i < 50; i++) await put(leader, `k${i}`, String(i));
    for (const member of cluster.members) member.crash();
    for (const member of cluster.members) await member.start();
    await cluster.elected();
    await cluster.converged();
    for (const member of cluster.members) {
      for (let i = 0; i < 50; i++) expect(await member.peek(`k${i}`)).toBe(String(i));
    }
  });

  test("a command that died with its leader is proposed again, once, by its member", async () => {
    const leader = await start();
    const [follower] = cluster.followers() as [SimMember];
    await put(follower, "k", "0");
    // Forwarded, and lost: its leader never hears of it.
    cluster.network.cut(follower.id, leader.id);
    const call = follower.put("k", "1");
    await cluster.run(50);
    leader.crash();
    cluster.network.heal();
    expect((await cluster.result(call)).type).toBe("put");
    await cluster.converged();
    for (const { machine } of cluster.running().map((member) => member.node())) {
      expect(machine.mvcc.find(new TextEncoder().encode("k"))?.version).toBe(2);
    }
  });

  test("a partitioned leader answers neither reads nor writes, and its majority does", async () => {
    const old = await start();
    await put(old, "k", "1");
    cluster.network.isolate(old.id);
    const read = refusal(old.get("k"));
    const write = refusal(old.put("k", "lost"));
    await cluster.until(() => cluster.leader() !== old && cluster.leader() !== null);
    const [next] = cluster.members.filter((member) => member !== old) as [SimMember];
    await put(next, "k", "2");
    expect(await read).toBe("etcdserver: no leader");
    expect(await write).toBe(
      "etcdserver: request timed out, possibly due to previous leader failure",
    );
    expect(await old.peek("k")).toBe("1");
    cluster.network.heal();
    await cluster.converged();
    expect(await cluster.result(old.get("k"))).toBe("2");
  });

  test("a member without a leader keeps a put until its deadline, and says it never left", async () => {
    const leader = await start();
    for (const member of cluster.followers()) member.crash();
    await cluster.until(() => leader.node().status().leader === null);
    expect(await refusal(leader.put("k", "1"))).toBe("etcdserver: no leader");
  });

  test("a put with a leader but without a majority ends with an unknown fate", async () => {
    const leader = await start();
    for (const member of cluster.followers()) member.crash();
    const limits = { ...noLimits, deadline: cluster.clock.now() + 300 };
    const put = { key: new Uint8Array([1]), value: new Uint8Array(0), lease: "0" };
    const value = { ...put, prevKv: false, ignoreValue: false, ignoreLease: false };
    expect(await refusal(leader.propose({ $case: "put", value }, limits))).toBe(
      "etcdserver: request timed out",
    );
  });

  test("a paused leader that wakes serves no stale read", async () => {
    const old = await start();
    await put(old, "k", "1");
    old.pause();
    await cluster.until(() => cluster.leader() !== old && cluster.leader() !== null);
    const [other] = cluster.members.filter((member) => member !== old) as [SimMember];
    await put(other, "k", "2");
    old.resume();
    expect(await cluster.result(old.get("k"))).toBe("2");
  });

  test("a paused follower that wakes hears its leader before it judges it silent", async () => {
    const leader = await start();
    const { term } = leader.node().status();
    const [paused] = cluster.followers() as [SimMember];
    paused.pause();
    await cluster.run(5000);
    paused.resume();
    await cluster.run(3000);
    expect(cluster.leader()).toBe(leader);
    expect(paused.node().status().term).toBe(term);
  });

  test("a wiped member is refused, is no part of a majority, and says what to do", async () => {
    const leader = await start();
    await put(leader, "k", "1");
    await cluster.converged();
    const [wiped, other] = cluster.followers() as [SimMember, SimMember];
    wiped.crash();
    wiped.wipe();
    await wiped.start();
    other.crash();
    await cluster.until(() => leader.node().status().leader === null);
    expect(await refusal(leader.put("k", "2"))).toBe("etcdserver: no leader");
    expect(wiped.node().status().last).toBe(0);
    const refusals = cluster.logged.filter(({ level }) => level === "error");
    expect(refusals[0]?.fields["refusal"]).toMatch(/another data directory.*add it anew/);
  });

  test("a wiped member is refused after a full restart too", async () => {
    const leader = await start();
    await put(leader, "k", "1");
    await cluster.converged();
    const [wiped, other] = cluster.followers() as [SimMember, SimMember];
    for (const member of cluster.members) member.crash();
    wiped.wipe();
    await wiped.start();
    await leader.start();
    await cluster.run(10_000);
    expect(cluster.leader()).toBeNull();
    await other.start();
    await cluster.elected();
    expect(await cluster.result(leader.get("k"))).toBe("1");
    expect(wiped.node().status().last).toBe(0);
  });

  test("an overlay that is nearly always full slows apply, and stops nothing", async () => {
    const leader = await start({ options: { overlayBytesMax: 20_000 } });
    const value = "v".repeat(1000);
    const calls = Array.from({ length: 200 }, (_, i) => leader.put(`k${i}`, value));
    await cluster.result(Promise.all(calls));
    await cluster.converged();
    expect(leader.node().status().revision).toBe(201);
  });

  test("what a leader at its limit drops is answered with too many requests, and is in no log", async () => {
    await start({ raft: { uncommittedBytesMax: 2000 } });
    const [follower] = cluster.followers() as [SimMember];
    for (const member of cluster.members) member.syncDelayMs = 100;
    const value = "v".repeat(1000);
    const calls: Promise<string>[] = [];
    for (let i = 0; i < 10; i++) {
      const call = follower.put(`k${i}`, value);
      calls.push(call.then(({ type }) => type, String));
      await cluster.run(5);
    }
    const startedAt = cluster.clock.now();
    const ends = await cluster.result(Promise.all(calls));
    expect(cluster.clock.now() - startedAt).toBeLessThan(2000);
    const tooMany = "RequestError: etcdserver: too many requests";
    expect(new Set(ends)).toEqual(new Set(["put", tooMany]));
    await cluster.converged();
    for (const [i, end] of ends.entries()) {
      expect(await follower.peek(`k${i}`)).toBe(end === "put" ? value : undefined);
    }
  });

  test("a leader whose disk stalls steps down, and another takes over", async () => {
    const leader = await start();
    leader.syncDelayMs = 5000;
    const call = leader.put("k", "1");
    await cluster.until(() => cluster.leader() !== leader && cluster.leader() !== null, 5000);
    await cluster.result(call);
    leader.syncDelayMs = 1;
    const [other] = cluster.members.filter((member) => member !== leader) as [SimMember];
    await put(other, "k", "2");
    await cluster.converged();
  });

  test("a disk that hangs ends the process", async () => {
    const leader = await start({ size: 1, options: { diskHangMs: 8000 } });
    leader.syncDelayMs = 1e9;
    const call = refusal(leader.put("k", "1"));
    await cluster.until(() => !leader.isRunning());
    expect(String(cluster.fatals.splice(0))).toMatch(/disk has not answered for 8000 ms/);
    expect(await call).toMatch(/request timed out/);
  });

  test("stop refuses new work, and ends what is under way", async () => {
    const leader = await start();
    const calls = Array.from({ length: 20 }, (_, i) => leader.put(`k${i}`, "v"));
    const node = leader.node();
    const stopping = leader.stop();
    await expect(node.barrier(noLimits)).rejects.toThrow("etcdserver: server stopped");
    await expect(node.propose(new Uint8Array(0), noLimits)).rejects.toThrow("server stopped");
    const outcomes = await cluster.result(Promise.all(calls));
    expect(outcomes.every(({ type }) => type === "put")).toBe(true);
    await stopping;
    await leader.start();
    await cluster.converged();
    expect(await leader.peek("k19")).toBe("v");
  });

  test("propose refuses what is too large, and what comes while apply is far behind", async () => {
    const leader = await start({ options: { requestBytesMax: 100, appliedLagMax: -1 } });
    expect(await refusal(leader.put("k", "v"))).toBe("etcdserver: too many requests");
    cluster = await SimCluster.start({ size: 1, seed: 2, options: { requestBytesMax: 150 } });
    const [alone] = cluster.members as [SimMember];
    expect(await refusal(alone.put("k", "v".repeat(151)))).toBe("etcdserver: request is too large");
  });

  test("status and header say who answers", async () => {
    const leader = await start();
    const [follower] = cluster.followers() as [SimMember];
    const status = follower.node().status();
    expect(status).toMatchObject({ leader: leader.id, role: "follower", isLearner: false });
    expect(follower.node().header(7)).toEqual({
      clusterId: status.clusterId,
      memberId: follower.id,
      revision: 7,
      raftTerm: status.term,
    });
  });

  test("every member publishes its name and client URLs after it started", async () => {
    await start();
    await cluster.until(() =>
      cluster.members.every((member) =>
        member
          .node()
          .machine.members.list()
          .every(({ clientUrls, storeId }) => clientUrls.length === 1 && storeId !== null),
      ),
    );
  });

  test("compactionDone waits until the rows are gone", async () => {
    const leader = await start({ options: { compactRowsPerSlice: 5 } });
    for (let i = 0; i < 50; i++) await put(leader, "k", String(i));
    const compaction = { revision: 40, physical: true };
    await cluster.result(leader.propose({ $case: "compaction", value: compaction }));
    await cluster.result(leader.node().compactionDone(noLimits));
    expect(leader.node().machine.mvcc.compactStep(100)).toBe(false);
    expect(await cluster.result(leader.get("k"))).toBe("49");
  });
});
