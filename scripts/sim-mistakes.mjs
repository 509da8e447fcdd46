// `npm run sim:mistakes`: does the simulator see what it is for? Plants each mistake of
// test/sim/mistakes in a scratch copy of the tree, builds it, and runs seeds of five members (some
// mistakes need two leaders, and three members hardly have room for them) until something is
// violated. Fails when a mistake survives, does not apply or does not build.
import { spawnSync } from "node:child_process";
import {
  cpSync,
  mkdtempSync,
  mkdirSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const seedsMax = process.argv[2] ?? "2000";
const patches = resolve("test/sim/mistakes");
const scratch = mkdtempSync(join(tmpdir(), "keelson-mistakes-"));

/** Gives what the seeds said; null: the mistake survived. */
function seedThatFinds(patch) {
  const tree = join(scratch, patch);
  mkdirSync(tree);
  for (const part of ["package.json", "src", "test", "tsconfig.json", "tsconfig.sim.json"]) {
    cpSync(part, join(tree, part), { recursive: true });
  }
  symlinkSync(resolve("node_modules"), join(tree, "node_modules"));
  mkdirSync(join(tree, "out"));
  writeFileSync(join(tree, "out/package.json"), '{ "type": "module" }\n');
  // Beside this repository, not in it.
  const env = { ...process.env, GIT_CEILING_DIRECTORIES: scratch };
  run("git", ["apply", join(patches, patch)], { cwd: tree, env });
  const tsc = "node_modules/typescript/bin/tsc";
  run(process.execPath, [tsc, "-p", "tsconfig.sim.json", "--outDir", "out"], { cwd: tree });
  const args = ["out/test/sim/sim-main.js", "--seeds", seedsMax, "--members", "5", "--first"];
  const found = spawnSync(process.execPath, args, { cwd: tree, encoding: "utf8" });
  return found.status === 1 ? found.stderr.trim().split("\n")[0] : null;
}

function run(command, args, options) {
  const ran = spawnSync(command, args, { ...options, encoding: "utf8" });
  if (ran.status !== 0) throw new Error(`${command} failed:\n${ran.stdout}${ran.stderr}`);
}

try {
  for (const patch of readdirSync(patches).filter((name) => name.endsWith(".patch"))) {
    const found = seedThatFinds(patch);
    console.log(`${patch}: ${found ?? `not found in ${seedsMax} seeds`}`);
    if (found === null) process.exitCode = 1;
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
