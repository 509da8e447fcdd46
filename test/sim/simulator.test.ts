// The simulator as it is used: two hundred seeds over all sizes, in a build of their own, and one
// seed twice. What its checkers reject is in the tests of each; what it finds when a mistake is
// planted, in `npm run sim:mistakes`.
import { spawn } from "node:child_process";
import { describe, expect, test } from "vitest";
import { simulate } from "./simulation.ts";
import { faultKinds, sizes, swarmOf } from "./swarm.ts";

interface Summary {
  readonly seeds: number;
  readonly events: number;
  readonly simulatedHours: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly operations: number;
  readonly violations: number;
  readonly seconds: number;
}

function run(args: readonly string[]): Promise<{ status: number | null; summary: Summary }> {
  return new Promise((resolve, reject) => {
    const sim = spawn(process.execPath, ["scripts/sim.mjs", ...args], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let out = "";
    sim.stdout.on("data", (part: Buffer) => (out += part.toString()));
    sim.on("error", reject);
    sim.on("exit", (status) => {
      resolve({ status, summary: JSON.parse(out.trim().split("\n").at(-1) ?? "") as Summary });
    });
  });
}

describe("simulator", () => {
  test("200 seeds over all sizes violate nothing", { timeout: 300_000 }, async () => {
    const { status, summary } = await run(["--seeds", "200", "--jobs", "2"]);
    expect(summary).toMatchObject({ seeds: 200, violations: 0 });
    expect(status).toBe(0);
    const seconds = summary.simulatedHours * 3600;
    expect(seconds).toBeGreaterThanOrEqual(200 * 30 - 1);
    expect(summary.operations / seconds).toBeGreaterThan(19);
    const faults = Object.values(summary.faults).reduce((sum, count) => sum + count, 0);
    expect(faults / seconds).toBeGreaterThan(0.95);
    expect(Object.keys(summary.faults).sort()).toEqual([...faultKinds].sort());
    const drawn = Array.from({ length: 200 }, (_, i) => swarmOf(i + 1, null).size);
    expect(new Set(drawn)).toEqual(new Set(sizes));
  });

  test.each(sizes)("one seed is one story, with %i members", async (size) => {
    const first = await simulate({ seed: 7, size });
    expect(first.violation).toBeNull();
    expect(await simulate({ seed: 7, size })).toEqual(first);
  });

  test("another seed is another story", async () => {
    const first = await simulate({ seed: 8, size: 3 });
    const second = await simulate({ seed: 9, size: 3 });
    expect(second.eventHash).not.toBe(first.eventHash);
  });
});
