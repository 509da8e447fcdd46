// `npm run sim:mistakes`: does the simulator see what it is for? Plants each mistake of
// test/sim/mistakes in a scratch copy of the tree, builds it, and runs seeds of five members (some
// mistakes need two leaders, and three members hardly have room for them) until something is
// violated. Prints for each mistake the seed, what was violated, and how many seeds it took. Fails
// when a mistake survives, does not apply or does not build.
//
//   [--from S] [--seeds N] [--only NAME]   the first seed (1), how many at most (2000), one mistake
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
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    from: { type: "string", default: "1" },
    seeds: { type: "string", default: "2000" },
    only: { type: "string" },
  },
});
const patches = resolve("test/sim/mistakes");
const scratch = mkdtempSync(join(tmpdir(), "keelson-mistakes-"));

/** Where the mistake is planted and built. */
function planted(patch) {
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
  return tree;
}

/** What the seeds said, and how many ran; null: the mistake survived. */
function hunt(tree) {
  const range = ["--from", values.from, "--seeds", values.seeds, "--members", "5", "--first"];
  const ran = spawnSync(process.execPath, ["out/test/sim/sim-main.js", ...range], {
    cwd: tree,
    encoding: "utf8",
  });
  const sum = ran.stdout.trim().split("\n").at(-1);
  if (sum === "") throw new Error(`the simulator failed:\n${ran.stderr}`);
  const { seeds, violations } = JSON.parse(sum);
  return violations === 0 ? null : { seeds, told: ran.stderr.trim().split("\n")[0] };
}

function run(command, args, options) {
  const ran = spawnSync(command, args, { ...options, encoding: "utf8" });
  if (ran.status !== 0) throw new Error(`${command} failed:\n${ran.stdout}${ran.stderr}`);
}

function isWanted(name) {
  return name.endsWith(".patch") && (values.only === undefined || name === `${values.only}.patch`);
}

try {
  const wanted = readdirSync(patches).filter(isWanted);
  if (wanted.length === 0) throw new Error(`no mistake ${values.only} in ${patches}`);
  for (const patch of wanted) {
    const name = patch.replace(".patch", "");
    const found = hunt(planted(patch));
    if (found === null) process.exitCode = 1;
    const range = `${values.seeds} seeds from ${values.from}`;
    if (found === null) console.log(`${name}: NOT FOUND in ${range}`);
    else console.log(`${name}: found after ${found.seeds} of ${range}: ${found.told}`);
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
