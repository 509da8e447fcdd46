// Leases over whole members: expiry only through the log, never early, across failover and pauses;
// renewals acknowledged only by a leader that is one.
import { afterEach, describe, expect, test } from "vitest";
import { RequestError } from "../../src/base/errors.ts";
import type { LeaseId } from "../../src/base/ids.ts";
import { LeaseKeeper } from "../../src/server/lease-keeper.ts";
import { SimCluster } from "../sim/cluster.ts";
import { noLimits } from "../sim/sim-member.ts";
import type { SimMember } from "../sim/sim-member.ts";

const lease = "7587" as LeaseId;
const electionMs = 1000;
const checkMs = 500;

let cluster: SimCluster;

async function start(size = 3): Promise<SimMember> {
  cluster = await SimCluster.start({ size, seed: 3 });
  return cluster.elected();
}

afterEach(() => {
  expect(cluster.fatals).toEqual([]);
});

async function grant(member: SimMember, ttl: number): Promise<void> {
  const value = { ID: lease, TTL: ttl };
  const outcome = await cluster.result(member.propose({ $case: "leaseGrant", value }));
  expect(outcome.type).toBe("leaseGrant");
}

function keepAlive(member: SimMember): Promise<number> {
  return cluster.result(member.node().leases.keepAlive(lease, noLimits));
}

function timeToLive(member: SimMember): Promise<{ ttl: number; grantedTtl: number }> {
  return cluster.result(member.node().leases.timeToLive(lease, noLimits));
}

/** On every running member. */
function isGone(): boolean {
  return cluster.running().every((member) => !member.node().machine.leases.has(lease));
}

function isThere(member: SimMember): boolean {
  return member.node().machine.leases.has(lease);
}

function other(...than: SimMember[]): SimMember {
  return cluster.members.find((member) => !than.includes(member)) as SimMember;
}

describe("lease keeper", () => {
  test("a lease expires through the log with its keys, not before its TTL, soon after", async () => {
    const leader = await start();
    await grant(leader, 2);
    const grantedAt = cluster.clock.now();
    await cluster.result(leader.put("a", "1", lease));
    await cluster.result(leader.put("b", "2", lease));
    const { revision } = leader.node().status();
    await cluster.until(isGone);
    const lasted = cluster.clock.now() - grantedAt;
    expect(lasted).toBeGreaterThanOrEqual(2000);
    expect(lasted).toBeLessThan(2000 + 2 * checkMs + 200);
    for (const member of cluster.members) {
      expect(await member.peek("a")).toBeUndefined();
      expect(member.node().status().revision).toBe(revision + 1);
    }
  });

  test("keepAlive on any member renews, and the lease outlives many TTLs", async () => {
    const leader = await start();
    await grant(leader, 2);
    for (let i = 0; i < 12; i++) {
      expect(await keepAlive(cluster.members[i % 3] as SimMember)).toBe(2);
      await cluster.run(1500);
    }
    expect(isThere(leader)).toBe(true);
    await cluster.until(isGone);
    expect(await keepAlive(leader)).toBe(0);
    expect(await keepAlive(other(leader))).toBe(0);
    const renewed = cluster.members.map((member) => member.node().counts().leasesRenewed);
    expect(renewed).toEqual(cluster.members.map((member) => (member === leader ? 12 : 0)));
  });

  test("timeToLive counts down in whole seconds, on every member alike", async () => {
    const leader = await start();
    await grant(leader, 10);
    await cluster.run(2600);
    for (const member of cluster.members) {
      const { ttl, grantedTtl } = await timeToLive(member);
      expect(grantedTtl).toBe(10);
      expect(ttl).toBeGreaterThanOrEqual(7);
      expect(ttl).toBeLessThanOrEqual(8);
    }
    await cluster.result(leader.propose({ $case: "leaseRevoke", value: { ID: lease } }));
    expect(await timeToLive(leader)).toEqual({ ttl: -1, grantedTtl: 0 });
  });

  test("a new leader gives a lease its full TTL and an election timeout again", async () => {
    const old = await start();
    await grant(old, 5);
    await cluster.run(4000);
    old.crash();
    const next = await cluster.elected();
    const electedAt = cluster.clock.now();
    await cluster.until(() => !isThere(next));
    const lasted = cluster.clock.now() - electedAt;
    expect(lasted).toBeGreaterThanOrEqual(5000);
    expect(lasted).toBeLessThan(5000 + electionMs + 2 * checkMs + 200);
  });

  test("a leader that was paused past the TTL takes waiting renewals before it expires", async () => {
    const leader = await start(1);
    await grant(leader, 3);
    leader.pause();
    await cluster.run(10_000);
    // The renewal arrived while the process stood still.
    leader.resume();
    expect(await keepAlive(leader)).toBe(3);
    await cluster.run(2000);
    expect(isThere(leader)).toBe(true);
    await cluster.until(isGone);
  });

  test("a deposed leader that wakes renews nothing and expires nothing", async () => {
    const old = await start();
    await grant(old, 4);
    const { term } = old.node().status();
    old.pause();
    await cluster.until(() => cluster.leader() !== old && cluster.leader() !== null);
    await cluster.run(2000);
    const next = cluster.leader() as SimMember;
    old.resume();
    const ttl = await keepAlive(old);
    expect(ttl).toBe(4);
    expect(old.node().status().term).toBeGreaterThan(term);
    await cluster.run(3000);
    expect(isThere(next)).toBe(true);
  });

  test("a leader cut off from its majority acknowledges no renewal", async () => {
    const old = await start();
    await grant(old, 60);
    cluster.network.isolate(old.id);
    const refused = await cluster.result(
      old
        .node()
        .leases.keepAlive(lease, noLimits)
        .then(String, (error: unknown) => error),
    );
    expect(refused).toBeInstanceOf(RequestError);
  });

  test("renew and remaining of a follower say that it is not the one to ask", async () => {
    const leader = await start();
    const follower = other(leader);
    expect(follower.node().leases).toBeInstanceOf(LeaseKeeper);
    await expect(follower.node().leases.renew([lease])).rejects.toThrow("not a primary lessor");
    await expect(follower.node().leases.remaining(lease)).rejects.toThrow("not a primary lessor");
  });

  test("keepAlive of thousands of leases through a follower costs the leader a few barriers", async () => {
    const leader = await start();
    const ids = Array.from({ length: 5000 }, (_, i) => String(i + 1) as LeaseId);
    await cluster.result(
      Promise.all(ids.map((ID) => leader.propose({ $case: "leaseGrant", value: { ID, TTL: 60 } }))),
    );
    let calls = 0;
    const { leases } = leader.node();
    const renew = leases.renew.bind(leases);
    leases.renew = (together) => {
      calls += 1;
      return renew(together);
    };
    const asked = other(leader).node().leases;
    const gone = asked.keepAlive("5001" as LeaseId, noLimits);
    const ttls = await cluster.result(Promise.all(ids.map((id) => asked.keepAlive(id, noLimits))));
    expect(ttls).toEqual(ids.map(() => 60));
    expect(await cluster.result(gone)).toBe(0);
    expect(calls).toBe(2);
  });

  test("keepAlive finds the new leader while the old one is gone", async () => {
    const old = await start();
    await grant(old, 30);
    const asked = other(old);
    old.crash();
    expect(await keepAlive(asked)).toBe(30);
  });

  test("keepAlive that waits behind calls to a silent leader goes to the next one at once", async () => {
    cluster = await SimCluster.start({ size: 3, seed: 3, options: { leaseRenewalCallsMax: 1 } });
    const old = await cluster.elected();
    await grant(old, 30);
    const asked = other(old).node().leases;
    cluster.network.isolate(old.id);
    const sent = asked.keepAlive(lease, noLimits);
    await cluster.run(1);
    const askedAt = cluster.clock.now();
    expect(await cluster.result(asked.keepAlive(lease, noLimits))).toBe(30);
    expect(cluster.clock.now() - askedAt).toBeLessThan(3500);
    expect(await cluster.result(sent)).toBe(30);
  });

  test("a lease whose expiry is under way is not renewed: keepAlive waits, and answers 0", async () => {
    const leader = await start();
    await grant(leader, 2);
    for (const member of cluster.followers()) member.syncDelayMs = 900;
    await cluster.run(2000 + checkMs + 200);
    const answers: number[] = [];
    while (isThere(leader)) {
      for (const asked of [leader, other(leader)]) answers.push(await keepAlive(asked));
    }
    expect(answers.length).toBeGreaterThan(0);
    expect(answers.filter((ttl) => ttl !== 0)).toEqual([]);
  });

  test("an expiry judged before a grant of the same id was applied spares the new lease", async () => {
    const leader = await start();
    await grant(leader, 2);
    await cluster.run(1900);
    for (const member of cluster.followers()) member.syncDelayMs = 900;
    void leader.propose({ $case: "leaseRevoke", value: { ID: lease } });
    await grant(leader, 10);
    for (const member of cluster.followers()) member.syncDelayMs = 1;
    await cluster.result(leader.put("in the new lease", "1", lease));
    await cluster.run(3000);
    expect(await leader.peek("in the new lease")).toBe("1");
  });

  test("thousands of leases that end at once all go, in bounded portions", async () => {
    const leader = await start();
    const ids = Array.from({ length: 1200 }, (_, i) => String(i + 1));
    await cluster.result(
      Promise.all(ids.map((ID) => leader.propose({ $case: "leaseGrant", value: { ID, TTL: 2 } }))),
    );
    await cluster.until(() => leader.node().machine.leases.list().length === 0);
  });
});
