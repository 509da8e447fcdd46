// Compiles src to dist. Nothing is bundled; dist/main.js is the `keelson` command.
import { execFileSync } from "node:child_process";
import { chmodSync, rmSync } from "node:fs";

const root = new URL("..", import.meta.url).pathname;
rmSync(`${root}dist`, { recursive: true, force: true });
execFileSync(`${root}node_modules/.bin/tsc`, ["-p", `${root}tsconfig.build.json`], {
  stdio: "inherit",
});
chmodSync(`${root}dist/main.js`, 0o755);
