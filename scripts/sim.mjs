// `npm run sim`: compiles the simulator with the product it simulates, beside the dependencies and
// out of the tree's way, and runs it. Arguments are the simulator's (test/sim/sim-main.ts).
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";

const out = "node_modules/.cache/sim";
const tsc = "node_modules/typescript/bin/tsc";

mkdirSync(out, { recursive: true });
writeFileSync(`${out}/package.json`, '{ "type": "module" }\n');
const built = spawnSync(process.execPath, [tsc, "-p", "tsconfig.sim.json"], { stdio: "inherit" });
if (built.status !== 0) process.exit(built.status ?? 1);
// Runs are many and short-lived: a large young space copies little of them, and one thread collects
// it for less than several do.
const flags = ["--enable-source-maps", "--max-semi-space-size=64", "--single-threaded-gc"];
const args = [...flags, `${out}/test/sim/sim-main.js`, ...process.argv.slice(2)];
const run = spawnSync(process.execPath, args, { stdio: "inherit" });
process.exitCode = run.status ?? 1;
