import { expect, test } from "vitest";
import { readRecords } from "../../src/wal/reader.ts";
import { decodeEntries } from "../../src/wal/record.ts";
import { segmentName } from "../../src/wal/segment.ts";
import { entries } from "../contract/log.ts";
import { SimFiles } from "../sim/sim-files.ts";
import { ScriptedLog } from "./scripted-log.ts";

const segmentBytes = 8 * 4096;

function newLog(): { files: SimFiles; log: ScriptedLog } {
  const files = new SimFiles();
  const log = new ScriptedLog(files, segmentBytes);
  const sizes = [10, 5_000, 0, 12_000, 300, 300, 20_000, 1];
  log.run(sizes.map((size, i) => ({ hardState: null, entries: entries(i + 1, i + 1, 1, size) })));
  return { files, log };
}

test("readRecords reads records that run over pages, and over segments", () => {
  const { files, log } = newLog();
  const map = log.writer?.state().entries;
  if (map === undefined) throw new Error("the log is not open");
  for (let first = 1; first <= 8; first++) {
    const request = { directory: "/member/wal", map, first, last: 8, bytesMax: Infinity };
    expect(decodeEntries(readRecords(files, request), first)).toEqual(
      log.acknowledged.entries.slice(first - 1),
    );
  }
});

test("readRecords calls what does not read back damage, and never an absent entry", () => {
  const { files, log } = newLog();
  const segment = files.content(`/member/wal/${segmentName(2)}`);
  const page = segment.slice(4096, 8192);
  const read = () => log.writer?.read(1, 8, Infinity);
  for (const [damage, reason] of [
    [() => (segment[4096 + 30] = 0xff), "the page does not read back"],
    [() => segment.fill(0, 4096, 8192), "the page does not read back"],
    [() => segment.copyWithin(4096, 8192, 12_288), "the page belongs elsewhere"],
  ] as const) {
    damage();
    expect(read).toThrow(`the log is damaged in ${segmentName(2)}, page 1: ${reason}`);
    segment.set(page, 4096);
  }
  expect(read).not.toThrow();
});
