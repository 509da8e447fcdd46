import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, describe, expect, test } from "vitest";

const folder = mkdtempSync(join(tmpdir(), "keelson-build-"));
const target = join(folder, "dist");
const run = promisify(execFile);

function build(): Promise<unknown> {
  return run(process.execPath, ["scripts/build.mjs", target]);
}

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("build", () => {
  test("replaces only what differs, also when two builds overlap", async () => {
    await build();
    const main = join(target, "main.js");
    const before = statSync(main);
    writeFileSync(join(target, "base/ids.js"), "half written");
    writeFileSync(join(target, "base/gone.js"), "no longer made");
    await Promise.all([build(), build()]);
    const after = statSync(main);
    expect([after.ino, after.mtimeMs]).toEqual([before.ino, before.mtimeMs]);
    expect(after.mode & 0o111).toBe(0o111);
    expect(statSync(join(target, "base/ids.js")).size).not.toBe("half written".length);
    expect(existsSync(join(target, "base/gone.js"))).toBe(false);
    expect(readdirSync(folder)).toEqual(["dist"]);
  });
});
