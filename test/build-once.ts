// Builds dist before any test runs, so that tests of the worker thread and of real processes run
// what users run. KEELSON_SKIP_BUILD=1 trusts the dist that is there.
import { execFileSync } from "node:child_process";

export default function setup(): void {
  if (process.env["KEELSON_SKIP_BUILD"] === "1") return;
  execFileSync(process.execPath, ["scripts/build.mjs"], { stdio: "inherit" });
}
