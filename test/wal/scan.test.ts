// The tail rule (W7), place by place: what a crash may leave behind the last whole batch, and what
// only damage can.
import { describe, expect, test } from "vitest";
import { Prng } from "../../src/base/prng.ts";
import type { Index } from "../../src/base/ids.ts";
import { replayLog } from "../../src/wal/recovery.ts";
import { DamageError } from "../../src/wal/scan.ts";
import { segmentName } from "../../src/wal/segment.ts";
import { cluster, entries, member } from "../contract/log.ts";
import { SimFiles } from "../sim/sim-files.ts";
import { contentOf, open, ScriptedLog, type ScriptStep } from "./scripted-log.ts";
import { store } from "./settle.ts";

const pageBytes = 4096;
const sectorBytes = 512;
const segmentBytes = 12 * pageBytes;
const identity = { cluster, member, store, start: 1_000 };

const append = (first: Index, last: Index, size: number): ScriptStep => ({
  hardState: null,
  entries: entries(first, last, 1, size),
});

/** Segment 2: its start on page 0, then batches on pages 1, 2, 3-5, 6-8; pages 9-11 are zeros. */
function newLog(): { files: SimFiles; newest: Uint8Array } {
  const files = new SimFiles();
  const script = [append(1, 1, 10), append(2, 2, 10), append(3, 3, 9_000), append(4, 4, 9_000)];
  new ScriptedLog(files, segmentBytes).run(script);
  return { files, newest: files.content(`/member/wal/${segmentName(2)}`) };
}

/** Last index of the log, or what is wrong with it. */
function scanned(files: SimFiles): string {
  try {
    let last = 0;
    const { scan } = replayLog(files, "/member/wal", identity, (_, records) => {
      for (const record of records) if (record.type === "entry") last = record.entry.index;
    });
    return `last ${last}, torn ${scan.tornPages}`;
  } catch (error) {
    if (!(error instanceof DamageError)) throw error;
    return `page ${error.place.page}: ${error.reason}`;
  }
}

function zero(bytes: Uint8Array, page: number, sector: number, count = 1): void {
  const start = page * pageBytes + sector * sectorBytes;
  bytes.fill(0, start, start + count * sectorBytes);
}

function copyPage(bytes: Uint8Array, from: number, to: number): void {
  bytes.copyWithin(to * pageBytes, from * pageBytes, (from + 1) * pageBytes);
}

function flip(bytes: Uint8Array, page: number, at: number): void {
  const place = page * pageBytes + at;
  bytes[place] = (bytes[place] as number) ^ 1;
}

const rows: readonly (readonly [string, (newest: Uint8Array) => void, string])[] = [
  ["nothing", () => {}, "last 4, torn 0"],
  ["no sector of the last batch", (b) => zero(b, 6, 0, 24), "last 3, torn 0"],
  ["all but one sector of the last batch", (b) => zero(b, 7, 3), "last 3, torn 3"],
  ["only the last sector of the last batch", (b) => zero(b, 6, 0, 23), "last 3, torn 3"],
  ["only the first sector of the last batch", (b) => zero(b, 6, 1, 23), "last 3, torn 1"],
  ["a whole page of the last batch, not written", (b) => zero(b, 6, 0, 8), "last 3, torn 3"],
  ["the end of the last batch, not written", (b) => zero(b, 8, 0, 8), "last 3, torn 2"],
  [
    "a sector of the batch before it, not written",
    (b) => zero(b, 4, 2),
    "page 3: a batch is missing; page 6 was written after it",
  ],
  [
    "a sector of the first batch, not written",
    (b) => zero(b, 0, 2),
    "page 0: the log's first batch is not whole",
  ],
  [
    "the batch before it, not written, and most of the last",
    (b) => {
      zero(b, 3, 0, 24);
      zero(b, 6, 0, 23);
    },
    "page 3: a batch is missing; page 8 was written after it",
  ],
  ["a flipped bit in the last batch", (b) => flip(b, 7, 700), "page 7: sector 1 fails its CRC-16"],
  ["a flipped bit in a tag", (b) => flip(b, 6, 511), "page 6: sector 0 fails its CRC-16"],
  [
    "a flipped bit before the last batch",
    (b) => flip(b, 2, 9),
    "page 2: sector 0 fails its CRC-16",
  ],
  [
    "a flipped bit and a missing sector in the last batch",
    (b) => {
      flip(b, 7, 700);
      zero(b, 6, 0);
    },
    "page 7: sector 1 fails its CRC-16",
  ],
  [
    "a byte where nothing was written",
    (b) => flip(b, 10, 99),
    "page 10: sector 0 has bytes but no tag",
  ],
  [
    "an old page over a new one",
    (b) => copyPage(b, 1, 2),
    `page 2: the page is ${segmentName(2)}'s page 1`,
  ],
  [
    "a page of the last batch after its end",
    (b) => copyPage(b, 8, 9),
    `page 9: the page is ${segmentName(2)}'s page 8`,
  ],
  [
    "two pages of a batch in each other's place",
    (b) => {
      copyPage(b, 7, 9);
      copyPage(b, 8, 7);
      copyPage(b, 9, 8);
      zero(b, 9, 0, 8);
    },
    "page 7: the page belongs elsewhere",
  ],
];

describe("scanLog", () => {
  test.each(rows)("the newest segment with %s", (_, damage, expected) => {
    const { files, newest } = newLog();
    damage(newest);
    expect(scanned(files)).toBe(expected);
  });

  test("any subset of the last batch's sectors is torn, unless it is all of them", () => {
    const prng = new Prng(4);
    for (let run = 0; run < 200; run++) {
      const { files, newest } = newLog();
      let missing = 0;
      for (let sector = 0; sector < 24; sector++) {
        if (prng.chance(0.5)) continue;
        zero(newest, 6, sector);
        missing++;
      }
      expect(scanned(files)).toMatch(missing === 0 ? /^last 4, torn 0$/ : /^last 3, torn \d$/);
    }
  });

  test("a segment missing, cut, swapped, or of another cluster is damage", () => {
    const long = [append(1, 9, 3_000), append(10, 18, 3_000), append(19, 27, 3_000)];
    const named = (id: number) => `/member/wal/${segmentName(id)}`;
    const make = () => {
      const files = new SimFiles();
      new ScriptedLog(files, segmentBytes).run(long);
      expect(scanned(files)).toBe("last 27, torn 0");
      return files;
    };
    const missing = make();
    missing.unlink(named(3));
    expect(scanned(missing)).toBe("page 0: the file is missing");
    const cut = make();
    cut.plant(named(3), cut.content(named(3)).slice(0, 5 * pageBytes));
    expect(scanned(cut)).toBe("page 0: its first batch is not whole");
    const cutInPage = make();
    cutInPage.plant(named(3), cutInPage.content(named(3)).slice(0, 5_000));
    expect(scanned(cutInPage)).toBe("page 1: the file ends within a page");
    const swapped = make();
    const third = swapped.content(named(3));
    swapped.plant(named(3), swapped.content(named(2)));
    swapped.plant(named(2), third);
    expect(scanned(swapped)).toMatch(/^page 0: /);
    const other = { ...identity, cluster: "7" as typeof cluster };
    expect(() => replayLog(make(), "/member/wal", other, () => {})).toThrow(/of another cluster/);
  });

  test("every bit of a small log matters or is harmless: nothing wrong is ever read", () => {
    const files = new SimFiles();
    const log = new ScriptedLog(files, 3 * pageBytes);
    log.run([append(1, 2, 100), append(3, 3, 100)]);
    const expected = scanned(files);
    const newest = files.content(`/member/wal/${segmentName(2)}`);
    // Coprime to the sizes, so that every kind of field is met; page.test.ts takes every bit.
    for (let bit = 0; bit < newest.length * 8; bit += 13) {
      const byte = newest[bit >> 3] as number;
      newest[bit >> 3] = byte ^ (1 << (bit & 7));
      const found = scanned(files);
      newest[bit >> 3] = byte;
      if (found === expected) throw new Error(`bit ${bit} is not noticed`);
    }
    expect(scanned(files)).toBe(expected);
  });
});

describe("a damaged log", () => {
  test("is refused with segment, page and what to do, at every start, and its bytes are kept", () => {
    const { files, newest } = newLog();
    flip(newest, 3, 1_000);
    const before = newest.slice();
    for (let start = 0; start < 2; start++) {
      expect(() => open(files, segmentBytes)).toThrow(
        new RegExp(
          `damaged in ${segmentName(2)}, page 3: sector 1 fails its CRC-16\\. The bytes are kept in ` +
            "/member/wal\\. This member cannot start: remove it from the cluster",
        ),
      );
    }
    expect(files.content(`/member/wal/${segmentName(2)}`)).toEqual(before);
    flip(newest, 3, 1_000);
    expect(() => open(files, segmentBytes)).toThrow("delete /member/wal/quarantine");
    files.unlink("/member/wal/quarantine");
    expect(contentOf(open(files, segmentBytes).writer)).toMatch(/ 1:4:\d+$/);
  });
});
