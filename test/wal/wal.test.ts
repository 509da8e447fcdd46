import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterAll, expect, test } from "vitest";
import { nodeFiles } from "../../src/wal/node-files.ts";
import { contentOf, describeLog, entries, idsOf, type LogUnderTest } from "../contract/log.ts";
import { SimFiles } from "../sim/sim-files.ts";
import { openOn, until } from "./settle.ts";

const scratch: string[] = [];

function scratchDirectory(): string {
  const path = mkdtempSync(`${tmpdir()}/keelson-wal-`);
  scratch.push(path);
  return path;
}

afterAll(() => {
  for (const path of scratch) rmSync(path, { recursive: true });
});

function finish<T>(promise: Promise<T>): Promise<T> {
  return promise;
}

describeLog("Wal on simulated files", (): LogUnderTest => {
  const files = new SimFiles();
  return { open: () => openOn(files), finish };
});

describeLog("Wal on the machine's files", (): LogUnderTest => {
  const directory = `${scratchDirectory()}/member`;
  return { open: () => openOn(nodeFiles, { directory }), finish };
});

test("Wal makes its directories for their owner only", async () => {
  const directory = `${scratchDirectory()}/above/member`;
  const log = await openOn(nodeFiles, { directory });
  await log.close();
  expect(statSync(directory).mode & 0o777).toBe(0o700);
  expect(statSync(`${directory}/wal`).mode & 0o777).toBe(0o700);
});

test("Wal acknowledges 1,000 appends in flight with few syncs", async () => {
  const files = new SimFiles();
  const log = await openOn(files, { segmentBytes: 1024 * 1024 });
  let syncs = 0;
  files.fault = ({ name, path }) => {
    if (name === "sync" && path.includes("segment-")) syncs++;
    return null;
  };
  const appends = entries(1, 1_000, 1, 100).map(async (one, i) => {
    // In ten turns, as a loop would.
    for (let turn = 0; turn < i % 10; turn++) await new Promise((next) => setImmediate(next));
    return one;
  });
  await Promise.all(appends);
  const given = entries(1, 1_000, 1, 100).map((one) =>
    log.append({ hardState: null, entries: [one] }),
  );
  await Promise.all(given);
  expect(syncs).toBeLessThanOrEqual(3);
  expect(await contentOf(log, 1_000)).toHaveLength(1_000);
});

test("Wal rolls over many segments and reads across them", async () => {
  const files = new SimFiles();
  const log = await openOn(files);
  for (let index = 1; index <= 40; index++) {
    await log.append({ hardState: null, entries: entries(index, index, 1, 3_000) });
  }
  expect(files.list("/member/wal")?.filter((name) => name.startsWith("segment-")).length).toBe(6);
  expect(await contentOf(log, 40)).toEqual(entries(1, 40, 1, 3_000));
  await log.close();
  const again = await openOn(files);
  expect(await contentOf(again)).toEqual(entries(1, 40, 1, 3_000));
});

test("Wal keeps an append that is larger than a segment", async () => {
  const files = new SimFiles();
  const log = await openOn(files);
  await log.append({ hardState: null, entries: entries(1, 2, 1, 100_000) });
  await log.append({ hardState: null, entries: entries(3, 3) });
  await log.close();
  const again = await openOn(files);
  expect(idsOf(await contentOf(again))).toBe("1:1 1:2 1:3");
});

test("Wal ends a read at a cut of the log that happened in between", async () => {
  const files = new SimFiles();
  const log = await openOn(files, { segmentBytes: 4 * 1024 * 1024 });
  await log.append({ hardState: null, entries: entries(1, 20, 1, 100_000) });
  const read = log.read(1, 20, Infinity);
  await log.append({ hardState: null, entries: entries(2, 2, 2) });
  const got = await read;
  expect(got.length).toBeGreaterThan(0);
  expect(got.length).toBeLessThan(20);
  expect(new Set(got.map((one) => one.term))).toEqual(new Set([1]));
});

test("Wal tells fatal about a failed sync, once, and settles nothing after it", async () => {
  for (const name of ["write", "sync"] as const) {
    const files = new SimFiles();
    const errors: Error[] = [];
    const log = await openOn(files, { fatal: (error) => errors.push(error) });
    await log.append({ hardState: null, entries: entries(1, 1) });
    let failures = 0;
    files.fault = (operation) => {
      if (operation.name !== name || !operation.path.includes("segment-")) return null;
      failures++;
      return "EIO";
    };
    let settled = 0;
    const count = () => settled++;
    log.append({ hardState: null, entries: entries(2, 2) }).then(count, count);
    await until(() => errors.length > 0);
    log.append({ hardState: null, entries: entries(3, 3) }).then(count, count);
    for (let turn = 0; turn < 20; turn++) await new Promise((next) => setImmediate(next));
    expect(errors.map((error) => error.message)).toEqual([
      expect.stringMatching(new RegExp(`EIO: ${name}`)),
    ]);
    expect({ settled, failures }).toEqual({ settled: 0, failures: 1 });
  }
});

test("Wal goes on in its spare segment when the disk is full, and ends when that is full too", async () => {
  const files = new SimFiles();
  const errors: Error[] = [];
  const warnings: string[] = [];
  const logger = {
    debug() {},
    info() {},
    error() {},
    warn: (_: unknown, message: string) => void warnings.push(message),
  };
  const log = await openOn(files, { fatal: (error) => errors.push(error), logger });
  const prepared = () =>
    files.list("/member/wal")?.filter((name) => /^prepared-\d+$/.test(name)).length;
  await until(() => prepared() === 2);
  files.fault = ({ path }) => (path.endsWith(".tmp") ? "ENOSPC" : null);
  let index = 0;
  let synced = 0;
  while (errors.length === 0 && index < 100) {
    index++;
    const append = log.append({ hardState: null, entries: entries(index, index, 1, 3_000) });
    await Promise.race([append.then(() => synced++), until(() => errors.length > 0)]);
  }
  expect(warnings).toContain("no space to prepare a log segment");
  expect(errors[0]?.message).toMatch(/no space is left for a log segment of 32768 bytes/);
  expect(synced).toBe(index - 1);
  expect(synced).toBeGreaterThan(16);
  files.restart();
  const again = await openOn(files);
  expect(again.recovered.lastIndex).toBe(synced);
  expect(files.list("/member/wal")?.filter((name) => name.endsWith(".tmp"))).toEqual([]);
});
