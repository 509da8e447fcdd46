// `npm run sim`: runs seeds, one after the other, and says what came of them.
//
//   --seeds N [--from S] [--members M] [--jobs J]   N runs; the last line is one JSON object
//     --first                                       ends with the first violation (of one job)
//   --seed=S [--members M]                          one run, told as a timeline
//
// Exit code 1 when anything was violated. With several jobs each takes its share of the seeds in a
// process of its own, and this one adds up.
import { fork } from "node:child_process";
import { parseArgs } from "node:util";
import { fileURLToPath } from "node:url";
import { simulate } from "./simulation.ts";
import type { SimulationReport } from "./simulation.ts";

interface Sum {
  seeds: number;
  events: number;
  simulatedHours: number;
  faults: Record<string, number>;
  operations: number;
  violations: number;
  seconds: number;
}

const usage = "usage: npm run sim -- (--seeds N [--from S] | --seed=S) [--members M] [--jobs J]";

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seeds: { type: "string" },
      from: { type: "string", default: "1" },
      members: { type: "string" },
      jobs: { type: "string", default: "1" },
      seed: { type: "string" },
      first: { type: "boolean", default: false },
      /** Of a job: every `every`-th seed. */
      every: { type: "string", default: "1" },
    },
  });
  const size = values.members === undefined ? null : countOf(values.members);
  if (values.seed !== undefined) return replay(countOf(values.seed), size);
  if (values.seeds === undefined) throw new Error(usage);
  // A stack for every refused call is dear. A replay has them.
  Error.stackTraceLimit = 0;
  const [from, seeds] = [countOf(values.from), countOf(values.seeds)];
  const jobs = countOf(values.jobs);
  const started = performance.now();
  const sum =
    jobs > 1
      ? await runJobs({ from, seeds, size, jobs })
      : await runSeeds({ from, seeds, size, every: countOf(values.every), first: values.first });
  sum.seconds = Math.round((performance.now() - started) / 10) / 100;
  sum.simulatedHours = Math.round(sum.simulatedHours * 10_000) / 10_000;
  process.send?.(sum);
  console.log(JSON.stringify(sum));
  if (sum.violations > 0) process.exitCode = 1;
}

function countOf(text: string): number {
  const count = Number(text);
  if (!Number.isSafeInteger(count) || count < 0) throw new Error(usage);
  return count;
}

function emptySum(): Sum {
  return {
    seeds: 0,
    events: 0,
    simulatedHours: 0,
    faults: {},
    operations: 0,
    violations: 0,
    seconds: 0,
  };
}

interface Range {
  readonly from: number;
  readonly seeds: number;
  readonly size: number | null;
}

async function runSeeds(range: Range & { every: number; first: boolean }): Promise<Sum> {
  const { from, seeds, size, every, first } = range;
  const sum = emptySum();
  for (let seed = from; seed < from + seeds; seed += every) {
    const report = await simulate({ seed, size });
    add(sum, report);
    if (report.violation === null) continue;
    tell(report, size);
    if (first) break;
  }
  return sum;
}

/** Job j takes seeds from + j, from + j + jobs, and so on. */
async function runJobs(range: Range & { jobs: number }): Promise<Sum> {
  const { from, seeds, size, jobs } = range;
  const sums = await Promise.all(
    Array.from({ length: jobs }, (_, job) => {
      const members = size === null ? [] : ["--members", String(size)];
      const share = ["--seeds", String(Math.max(0, seeds - job)), "--from", String(from + job)];
      return runJob([...share, "--every", String(jobs), ...members]);
    }),
  );
  const sum = emptySum();
  for (const part of sums) {
    sum.seeds += part.seeds;
    sum.events += part.events;
    sum.simulatedHours += part.simulatedHours;
    sum.operations += part.operations;
    sum.violations += part.violations;
    for (const [kind, count] of Object.entries(part.faults)) {
      sum.faults[kind] = (sum.faults[kind] ?? 0) + count;
    }
  }
  return sum;
}

function runJob(args: readonly string[]): Promise<Sum> {
  return new Promise((resolve, reject) => {
    const job = fork(fileURLToPath(import.meta.url), args, {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    let sum: Sum | null = null;
    job.on("message", (message) => {
      sum = message as Sum;
    });
    job.on("exit", (code) => {
      if (sum === null) reject(new Error(`a job ended with ${code}`));
      else resolve(sum);
    });
  });
}

function add(sum: Sum, report: SimulationReport): void {
  sum.seeds += 1;
  sum.events += report.events;
  sum.simulatedHours += report.simulatedMs / 3_600_000;
  sum.operations += report.operations;
  for (const [kind, count] of report.faults) sum.faults[kind] = (sum.faults[kind] ?? 0) + count;
  if (report.violation !== null) sum.violations += 1;
}

function tell(report: SimulationReport, size: number | null): void {
  const members = size === null ? "" : ` --members ${size}`;
  console.error(
    `seed ${report.seed}, ${report.swarm.size} members: ${report.violation?.message}\n` +
      `  replay: npm run sim -- --seed=${report.seed}${members}`,
  );
}

async function replay(seed: number, size: number | null): Promise<void> {
  const report = await simulate({
    seed,
    size,
    note: (at, what) => console.log(`${(at / 1000).toFixed(3).padStart(9)}  ${what}`),
  });
  const { violation, faults, swarm, ...rest } = report;
  console.log(JSON.stringify({ swarm }));
  console.log(violation === null ? "nothing was violated" : violation.stack);
  console.log(JSON.stringify({ ...rest, faults: Object.fromEntries(faults) }));
  if (violation !== null) process.exitCode = 1;
}

await main();
