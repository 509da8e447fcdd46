// Crash images: a script runs over simulated files, power goes before each of its steps in turn,
// any subset of what was not synced survives, and the log is opened on what is left.
import { describe, expect, test } from "vitest";
import { Prng } from "../../src/base/prng.ts";
import { SimCrash, SimFiles, type Survives } from "../sim/sim-files.ts";
import { entries, member } from "../contract/log.ts";
import { contentOf, describeContent, open, ScriptedLog, type ScriptStep } from "./scripted-log.ts";

const segmentBytes = 4 * 4096;

const append = (first: number, last: number, term: number, size = 50): ScriptStep => ({
  hardState: null,
  entries: entries(first, last, term, size),
});

const script: readonly ScriptStep[] = [
  { hardState: { term: 1, vote: member, commit: 0 }, entries: [] },
  append(1, 3, 1),
  "prepare",
  append(4, 4, 1, 9_000),
  append(5, 6, 1),
  "prepare",
  { hardState: { term: 2, vote: null, commit: 4 }, entries: entries(5, 7, 2, 500) },
  append(8, 8, 2, 12_000),
  "restart",
  append(6, 6, 3),
  "restart",
  "restart",
  append(7, 9, 3, 3_000),
  "prepare",
  { hardState: { term: 4, vote: member, commit: 6 }, entries: [] },
  append(3, 3, 4),
  append(4, 4, 4, 30_000),
  append(5, 8, 4),
];

/** Runs the script until power goes before this step. */
function crashedAt(step: number): { files: SimFiles; log: ScriptedLog; isOver: boolean } {
  const files = new SimFiles();
  files.crashAtStep = step;
  const log = new ScriptedLog(files, segmentBytes);
  try {
    log.run(script);
  } catch (error) {
    if (!(error instanceof SimCrash)) throw error;
    return { files, log, isOver: false };
  }
  return { files, log, isOver: true };
}

function subsets(seed: number): Survives[] {
  const prng = new Prng(seed);
  return [
    () => false,
    () => true,
    ...[0.15, 0.5, 0.85].map((probability) => () => prng.chance(probability)),
  ];
}

function expectOneOf(content: string, log: ScriptedLog): void {
  expect([describeContent(log.acknowledged), describeContent(log.next)]).toContain(content);
}

describe("openDirectory after a power loss at every step", () => {
  test("finds what was acknowledged, for good, whatever else survived", () => {
    let images = 0;
    let torn = 0;
    for (let step = 0; ; step++) {
      const { files, log, isOver } = crashedAt(step);
      for (const survives of subsets(step)) {
        const image = files.afterCrash(survives);
        const first = open(image, segmentBytes);
        const content = contentOf(first.writer);
        expectOneOf(content, log);
        expect(first.start).toBeGreaterThan(log.start);
        // What recovery reported may have been acknowledged since: it must not need the cache.
        const second = open(
          image.afterCrash(() => false),
          segmentBytes,
        );
        expect(contentOf(second.writer)).toBe(content);
        expect(second.start).toBeGreaterThan(first.start);
        expect(second.tornPages).toBe(0);
        images++;
        if (first.tornPages > 0) torn++;
      }
      if (isOver) break;
    }
    expect(images).toBeGreaterThan(500);
    expect(torn).toBeGreaterThan(10);
  }, 120_000);

  test("finds it too when power goes again while it recovers", () => {
    for (let step = 0; ; step += 7) {
      const { files, log, isOver } = crashedAt(step);
      const [, , , survives] = subsets(step) as [Survives, Survives, Survives, Survives];
      const image = files.afterCrash(survives);
      for (let again = 0; again < 40; again += 2) {
        const files2 = image.afterCrash(() => true);
        files2.crashAtStep = again;
        try {
          open(files2, segmentBytes);
          break;
        } catch (error) {
          if (!(error instanceof SimCrash)) throw error;
        }
        for (const lost of subsets(step * 100 + again).slice(0, 4)) {
          const opened = open(files2.afterCrash(lost), segmentBytes);
          expectOneOf(contentOf(opened.writer), log);
        }
      }
      if (isOver) break;
    }
  }, 120_000);

  test("finds it when the process alone died, and power goes while the next one recovers", () => {
    for (let step = 0; ; step += 11) {
      let isOver = false;
      for (let again = 0; again < 40; again++) {
        const crashed = crashedAt(step);
        const { files, log } = crashed;
        ({ isOver } = crashed);
        files.restart();
        files.crashAtStep = files.steps() + again;
        try {
          open(files, segmentBytes);
          break;
        } catch (error) {
          if (!(error instanceof SimCrash)) throw error;
        }
        for (const survives of subsets(step * 100 + again).slice(0, 4)) {
          const opened = open(files.afterCrash(survives), segmentBytes);
          expectOneOf(contentOf(opened.writer), log);
        }
      }
      if (isOver) break;
    }
  }, 120_000);

  test("counts on nothing that only the page cache has after the process alone died", () => {
    for (let step = 0; ; step++) {
      const { files, log, isOver } = crashedAt(step);
      files.restart();
      const first = open(files, segmentBytes);
      const content = contentOf(first.writer);
      expectOneOf(content, log);
      const second = open(
        files.afterCrash(() => false),
        segmentBytes,
      );
      expect(contentOf(second.writer)).toBe(content);
      if (isOver) break;
    }
  });

  test("counts on nothing that a failed sync left in the page cache", () => {
    for (let failing = 1; failing < 25; failing++) {
      const files = new SimFiles();
      const log = new ScriptedLog(files, segmentBytes);
      let syncs = 0;
      files.fault = ({ name }) => (name === "sync" && ++syncs === failing ? "EIO" : null);
      expect(() => log.run(script)).toThrow("EIO");
      files.restart();
      const first = open(files, segmentBytes);
      const content = contentOf(first.writer);
      expectOneOf(content, log);
      const second = open(
        files.afterCrash(() => false),
        segmentBytes,
      );
      expect(contentOf(second.writer)).toBe(content);
    }
  });
});

test("recovery of a segment that was only begun survives crashes of its own, whatever survives", () => {
  const prng = new Prng(7);
  const half: Survives = () => prng.chance(0.5);
  const files = new SimFiles();
  new ScriptedLog(files, segmentBytes).run([
    append(1, 3, 1),
    append(4, 4, 1),
    "prepare",
    "prepare",
  ]);
  const wanted = contentOf(
    open(
      files.afterCrash(() => true),
      segmentBytes,
    ).writer,
  );
  for (let round = 0; round < 1_000; round++) {
    // Up to three starts in a row that lose power somewhere.
    let image = files.afterCrash(() => true);
    for (let start = 0; start < 3; start++) {
      image.crashAtStep = prng.below(30);
      try {
        open(image, segmentBytes);
      } catch (error) {
        if (!(error instanceof SimCrash)) throw error;
      }
      image = image.afterCrash(half);
    }
    expect(contentOf(open(image, segmentBytes).writer)).toBe(wanted);
  }
});

test("recovery replays a truncation before what was appended after it, etcd #22442", () => {
  const files = new SimFiles();
  const log = new ScriptedLog(files, segmentBytes);
  log.run([append(1, 10, 1), append(4, 5, 2), "restart", append(6, 6, 2), append(2, 2, 3)]);
  const opened = open(
    files.afterCrash(() => false),
    segmentBytes,
  );
  const { hardState } = log.acknowledged;
  const wanted = [...entries(1, 1, 1, 50), ...entries(2, 2, 3, 50)];
  expect(contentOf(opened.writer)).toBe(describeContent({ hardState, entries: wanted }));
});

test("recovery leaves few files behind, however often it runs", () => {
  const files = new SimFiles();
  new ScriptedLog(files, segmentBytes).run([
    append(1, 3, 1),
    ...Array<"restart">(20).fill("restart"),
  ]);
  const names = files.list("/member/wal") ?? [];
  expect(names.filter((name) => name.startsWith("segment-"))).toHaveLength(2);
  expect(names.length).toBeLessThan(5);
});

test("an error on a read while opening is thrown as it is, and quarantines nothing", () => {
  const files = new SimFiles();
  new ScriptedLog(files, segmentBytes).run([append(1, 3, 1)]);
  files.fault = ({ name, path }) => (name === "read" && path.includes("segment") ? "EIO" : null);
  expect(() => open(files, segmentBytes)).toThrow("EIO");
  files.fault = () => null;
  expect(open(files, segmentBytes).writer.state().lastIndex()).toBe(3);
});
