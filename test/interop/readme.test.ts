// The README's commands, run as they stand: a member started as `npm start` starts it, then every
// curl and etcdctl line of the "Try it" section; three members, then the line of that section.
// Uses the default ports, so it belongs to the suite that has the machine to itself.
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { until } from "../e2e/processes.ts";

const run = promisify(execFile);
const readme = readFileSync("README.md", "utf8");

/** Shell lines of one section, without those that never end. */
function commandsOf(section: string): string[] {
  const text = readme.split(/^## /m).find((part) => part.startsWith(section)) ?? "";
  return [...text.matchAll(/```sh\n([\s\S]*?)```/g)]
    .flatMap((block) => (block[1] ?? "").trim().split("\n"))
    .filter((line) => line.startsWith("curl ") || line.startsWith("etcdctl "))
    .filter((line) => !line.startsWith("etcdctl watch"));
}

async function healthy(port: number): Promise<void> {
  await until(`port ${port} to be healthy`, 30_000, async () => {
    const answer = await fetch(`http://127.0.0.1:${port}/health`);
    return answer.ok ? true : undefined;
  });
}

describe("README", () => {
  let folder: string;
  let child: ChildProcess | undefined;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "keelson-readme-"));
  });
  afterEach(async () => {
    if (child !== undefined && child.exitCode === null) {
      const gone = new Promise((resolve) => child?.once("exit", resolve));
      child.kill("SIGTERM");
      await gone;
    }
    rmSync(folder, { recursive: true, force: true });
  });

  async function expectAllToSucceed(commands: readonly string[]): Promise<void> {
    expect(commands.length).toBeGreaterThan(0);
    for (const command of commands) {
      const { stdout } = await run("sh", ["-c", command], {
        env: { PATH: process.env["PATH"], ETCDCTL_API: "3" },
      });
      expect(stdout, command).not.toContain('"error"');
    }
  }

  test("every command of 'Try it' works against one member", async () => {
    const entry = join(process.cwd(), "dist/main.js");
    child = spawn(process.execPath, [entry, "serve", "--data-dir", "data"], {
      cwd: folder,
      stdio: "ignore",
    });
    await healthy(2379);
    const commands = commandsOf("Try it");
    expect(commands.length).toBeGreaterThanOrEqual(9);
    await expectAllToSucceed(commands);
  });

  test("the command of 'Three members' finds all of them healthy", async () => {
    const script = join(process.cwd(), "scripts/cluster.mjs");
    child = spawn(process.execPath, [script], { cwd: folder, stdio: "ignore" });
    await Promise.all([2379, 22379, 32379].map(healthy));
    await expectAllToSucceed(commandsOf("Three members"));
  });
});
