// Many random lives of small clusters. RAFT_SEED=n runs one seed, RAFT_SEEDS=n that many.
import { expect, test } from "vitest";
import { runRandom } from "./random-run.ts";

const steps = 2000;
const seedCount = Number(process.env["RAFT_SEEDS"] ?? 200);
const oneSeed = process.env["RAFT_SEED"];

test("Raft keeps I1 to I11 through loss, duplication, reorder and crashes, and then converges", () => {
  const totals = { committed: 0, elections: 0, reads: 0, crashes: 0 };
  const seeds =
    oneSeed === undefined ? Array.from({ length: seedCount }, (_, i) => i + 1) : [Number(oneSeed)];
  for (const seed of seeds) {
    try {
      const { counts } = runRandom(seed, steps);
      for (const name of Object.keys(totals) as (keyof typeof totals)[])
        totals[name] += counts[name];
    } catch (error) {
      throw new Error(`seed ${seed}: RAFT_SEED=${seed} npx vitest run test/raft/random.test.ts`, {
        cause: error,
      });
    }
  }
  console.log(`${seeds.length} seeds: ${JSON.stringify(totals)}`);
  // A world in which nothing happens keeps every invariant.
  if (oneSeed === undefined) {
    expect(totals.committed).toBeGreaterThan(seeds.length * 20);
    expect(totals.reads).toBeGreaterThan(seeds.length * 5);
    expect(totals.elections).toBeGreaterThan(seeds.length);
  }
}, 60_000);
