// The simulated cluster itself: it repeats from its seed, its faults bite, and members keep their
// promises under all of them at once.
import { describe, expect, test } from "vitest";
import { RequestError } from "../../src/base/errors.ts";
import { Prng } from "../../src/base/prng.ts";
import { SimCluster } from "./cluster.ts";
import type { SimMember } from "./sim-member.ts";
import { calmNetwork } from "./sim-network.ts";

interface Story {
  readonly acknowledged: ReadonlyMap<string, string>;
  readonly digest: string;
  readonly lines: number;
}

/** Clients put all the while; every second something breaks, and half a second later heals. */
async function live(seed: number, seconds: number): Promise<Story> {
  const prng = new Prng(seed, 9);
  const cluster = await SimCluster.start({ size: prng.pick([3, 5]), seed });
  cluster.network.faults = {
    ...calmNetwork,
    delayMsMax: 20,
    loss: 0.02,
    duplication: 0.02,
  };
  const acknowledged = new Map<string, string>();
  for (let second = 0; second < seconds; second++) {
    for (let i = 0; i < 5; i++) {
      const [key, value] = [`k${second}-${i}`, `v${second}`];
      prng
        .pick(cluster.running())
        .put(key, value)
        .then(
          () => acknowledged.set(key, value),
          (error: unknown) => expect(error).toBeInstanceOf(RequestError),
        );
    }
    const victim = prng.pick(cluster.members);
    const heal = hurt(cluster, victim, prng);
    await cluster.run(500);
    await heal();
    await cluster.run(500);
  }
  cluster.network.heal();
  for (const member of cluster.members) if (!member.isRunning()) await member.start();
  await cluster.run(8000);
  await cluster.converged();
  expect(cluster.fatals).toEqual([]);
  for (const member of cluster.members) {
    for (const [key, value] of acknowledged) {
      expect(await member.peek(key)).toBe(value);
    }
  }
  const { digest } = cluster.members[0]?.node().machine.mvcc.summary() ?? { digest: "" };
  return { acknowledged, digest, lines: cluster.logged.length };
}

/** Gives what undoes it. */
function hurt(cluster: SimCluster, victim: SimMember, prng: Prng): () => Promise<void> {
  switch (prng.below(4)) {
    case 0:
      victim.crash({ keepSyncing: prng.chance(0.5) });
      return () => victim.start();
    case 1:
      victim.pause();
      return async () => victim.resume();
    case 2:
      cluster.network.isolate(victim.id);
      return async () => cluster.network.heal();
    default:
      victim.syncDelayMs = prng.between(20, 1500);
      return async () => {
        victim.syncDelayMs = 1;
      };
  }
}

describe("simulated cluster", () => {
  test("one seed is one story", async () => {
    const first = await live(11, 6);
    expect(await live(11, 6)).toEqual(first);
  });

  test.each([21, 22, 23, 24])("seed %i: no acknowledged put is lost", async (seed) => {
    const { acknowledged } = await live(seed, 8);
    expect(acknowledged.size).toBeGreaterThan(0);
  });
});
