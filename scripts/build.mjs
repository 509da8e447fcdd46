// Compiles src to dist, or to the folder given. Nothing is bundled; dist/main.js is the `keelson`
// command.
//
// Members may be running from dist, and tests start more of them at any time: the compiler writes
// to a folder beside, then each file that differs is renamed over the old one, and what is no
// longer made is removed. No file is ever missing or half written, and a build that changes
// nothing touches nothing. Builds may overlap: each has its folder.
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const target = resolve(process.argv[2] ?? join(root, "dist"));

function filesOf(folder) {
  return readdirSync(folder, { recursive: true }).filter((path) =>
    statSync(join(folder, path), { throwIfNoEntry: false })?.isFile(),
  );
}

function isSame(made, placed) {
  return existsSync(placed) && readFileSync(made).equals(readFileSync(placed));
}

mkdirSync(target, { recursive: true });
// As deep as the target: source maps name the sources from there.
const folder = mkdtempSync(join(dirname(target), ".build-"));
try {
  const compiler = join(root, "node_modules/.bin/tsc");
  const args = ["-p", join(root, "tsconfig.build.json"), "--outDir", folder];
  execFileSync(compiler, args, { stdio: "inherit" });
  chmodSync(join(folder, "main.js"), 0o755);
  const made = new Set(filesOf(folder));
  for (const path of made) {
    const placed = join(target, path);
    if (isSame(join(folder, path), placed)) continue;
    mkdirSync(dirname(placed), { recursive: true });
    renameSync(join(folder, path), placed);
  }
  for (const path of filesOf(target)) {
    if (!made.has(path)) rmSync(join(target, path), { force: true });
  }
} catch (error) {
  // What the compiler found, it has printed.
  if (error.status === undefined) throw error;
  process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
