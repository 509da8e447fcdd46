// The log as it ships: the built files, the real threads, the machine's disk, the lock.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { pathToFileURL } from "node:url";
import { afterAll, expect, test } from "vitest";
import { silentLogger } from "../../src/base/logger.ts";
import { lockDirectory } from "../../src/wal/lock.ts";
import { WalError } from "../../src/wal/wal-error.ts";
import type { openWal as OpenWal, WalOptions } from "../../src/wal/wal.ts";
import { contentOf, describeLog, entries, idsOf, type LogUnderTest } from "../contract/log.ts";
import { create, realClock, throwFatal, until } from "./settle.ts";

const scratch = mkdtempSync(`${tmpdir()}/keelson-worker-`);
let directories = 0;

afterAll(() => rmSync(scratch, { recursive: true }));

const built = pathToFileURL(`${process.cwd()}/dist/wal/wal.js`).href;
const { openWal } = (await import(/* @vite-ignore */ built)) as { openWal: typeof OpenWal };

function newDirectory(): string {
  return `${scratch}/member-${++directories}`;
}

function preparedIn(directory: string): number {
  return readdirSync(`${directory}/wal`).filter((name) => /^prepared-\d+$/.test(name)).length;
}

/** Turns of the event loop to wait for another thread. */
const turnsMax = 5_000_000;

function optionsFor(directory: string, changed: Partial<WalOptions> = {}): WalOptions {
  const segmentBytes = 16 * 4096;
  const common = { create, clock: realClock, logger: silentLogger, fatal: throwFatal };
  return { directory, segmentBytes, ...common, ...changed };
}

describeLog("Wal in its worker thread", (): LogUnderTest => {
  const directory = newDirectory();
  return { open: () => openWal(optionsFor(directory)), finish: (promise) => promise };
});

test("Wal prepares its segments beside the log and rolls into them", async () => {
  const directory = newDirectory();
  const log = await openWal(optionsFor(directory));
  const names = () => readdirSync(`${directory}/wal`);
  const waitPrepared = () => until(() => preparedIn(directory) === 2, turnsMax);
  await waitPrepared();
  for (let index = 1; index <= 30; index++) {
    await log.append({ hardState: null, entries: entries(index, index, 1, 5_000) });
  }
  expect(names().filter((name) => name.startsWith("segment-")).length).toBeGreaterThan(3);
  await waitPrepared();
  expect(idsOf(await contentOf(log, 30)).split(" ")).toHaveLength(30);
  await log.close();
});

test("Wal refuses a directory that is open, with the owner, and takes it when it is closed", async () => {
  const directory = newDirectory();
  const log = await openWal(optionsFor(directory));
  const refused = await openWal(optionsFor(directory)).catch((error: unknown) => error);
  expect(refused).toMatchObject({ name: "WalError", kind: "inUse" });
  expect(String(refused)).toContain(`held by another process (pid ${process.pid})`);
  await log.close();
  await (await openWal(optionsFor(directory))).close();
});

test("Wal passes a refusal on from its thread, and lets go of the lock", async () => {
  const directory = newDirectory();
  const refused = await openWal(optionsFor(directory, { create: null })).catch(
    (error: unknown) => error,
  );
  expect(refused).toMatchObject({ name: "WalError", kind: "missing" });
  await (await openWal(optionsFor(directory))).close();
});

test("lockDirectory is let go by a process that is killed", async () => {
  const directory = newDirectory();
  const module = pathToFileURL(`${process.cwd()}/dist/wal/lock.js`).href;
  const code =
    `import { lockDirectory } from ${JSON.stringify(module)};` +
    `lockDirectory(${JSON.stringify(directory)}); console.log("held"); setInterval(() => {}, 1000);`;
  const owner = spawn(process.execPath, ["--input-type=module", "-e", code]);
  await new Promise((resolve) => owner.stdout.once("data", resolve));
  expect(() => lockDirectory(directory)).toThrow(WalError);
  expect(() => lockDirectory(directory)).toThrow(`(pid ${owner.pid})`);
  const exited = new Promise((resolve) => owner.once("exit", resolve));
  owner.kill("SIGKILL");
  await exited;
  lockDirectory(directory).release();
  expect(existsSync(`${directory}/lock`)).toBe(true);
});

test("Wal tells fatal when its thread finds the directory gone bad, and settles nothing", async () => {
  const directory = newDirectory();
  const errors: Error[] = [];
  const log = await openWal(optionsFor(directory, { fatal: (error) => errors.push(error) }));
  // Until nothing is being prepared any more.
  await until(() => preparedIn(directory) === 2, turnsMax);
  rmSync(`${directory}/wal`, { recursive: true });
  let settled = 0;
  const count = () => settled++;
  const large = entries(1, 20, 1, 5_000);
  log.append({ hardState: null, entries: large }).then(count, count);
  await until(() => errors.length > 0, turnsMax);
  expect(errors[0]?.message).toContain("ENOENT");
  expect(settled).toBe(0);
});
