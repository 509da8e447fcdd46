import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { concatBytes } from "../../src/base/bytes.ts";
import {
  batchTag,
  decodePage,
  encodePages,
  pageBytes,
  pageRoom,
  pagesFor,
  type BatchHeader,
  type PageContent,
} from "../../src/wal/page.ts";
import { cluster } from "../contract/log.ts";

function headerFor(recordBytes: number, batch = 7): BatchHeader {
  return {
    cluster,
    segment: 3,
    batch,
    firstPage: 5,
    pageCount: pagesFor(recordBytes),
    durableIndex: 41,
    durable: { segment: 3, page: 5 },
    oldestSegment: 1,
  };
}

function pagesOf(bytes: Uint8Array): PageContent[] {
  return Array.from({ length: bytes.length / pageBytes }, (_, i) =>
    decodePage(bytes, i * pageBytes),
  );
}

const parts = fc.array(fc.uint8Array({ maxLength: 6_000 }), { maxLength: 4 });

describe("encodePages", () => {
  test("gives back header, chain and records, whatever their sizes", () => {
    fc.assert(
      fc.property(parts, fc.nat(0xffffffff), (records, chainBefore) => {
        const joined = concatBytes(records);
        const header = headerFor(joined.length);
        const { pages, chain } = encodePages(header, records, chainBefore);
        expect(pages.length).toBe(header.pageCount * pageBytes);
        const used = new Uint8Array(4 * pageBytes).fill(0xa5);
        expect(encodePages(header, records, chainBefore, used)).toEqual({ pages, chain });
        let before = chainBefore;
        const read = pagesOf(pages).map((page, i) => {
          if (page.state !== "valid") throw new Error(page.state);
          expect(page).toMatchObject({ header, page: 5 + i, chain: before, version: 1 });
          before = page.crc;
          return page.records;
        });
        expect(chain).toBe(before);
        expect(concatBytes(read)).toEqual(joined);
      }),
      { numRuns: 50 },
    );
  });

  test("keeps counters above 2^32 and cluster ids above 2^53", () => {
    const header = { ...headerFor(1, 2 ** 40 + 3), segment: 2 ** 33, durableIndex: 2 ** 53 - 1 };
    const { pages } = encodePages(header, [Uint8Array.of(1)], 0);
    expect(decodePage(pages, 0)).toMatchObject({ state: "valid", header });
  });
});

test("batchTag is 16 bits and never zero", () => {
  for (const batch of [0, 1, 65_533, 65_534, 65_535, 65_536, 131_070, 2 ** 53 - 1]) {
    expect(batchTag(batch)).toBeGreaterThan(0);
    expect(batchTag(batch)).toBeLessThanOrEqual(0xffff);
    expect(batchTag(batch)).not.toBe(batchTag(batch + 1));
  }
});

describe("decodePage", () => {
  const records = new Uint8Array(pageRoom).map((_, i) => (i * 31) & 0xff);
  const { pages } = encodePages(headerFor(records.length), [records], 9);

  test("calls a page of zeros empty", () => {
    expect(decodePage(new Uint8Array(pageBytes), 0)).toEqual({ state: "empty" });
  });

  test("calls every single-bit flip of a page damage", () => {
    for (let bit = 0; bit < pageBytes * 8; bit++) {
      pages[bit >> 3] = (pages[bit >> 3] as number) ^ (1 << (bit & 7));
      const { state } = decodePage(pages, 0);
      pages[bit >> 3] = (pages[bit >> 3] as number) ^ (1 << (bit & 7));
      if (state !== "damaged") throw new Error(`bit ${bit}: ${state}`);
    }
    expect(decodePage(pages, 0).state).toBe("valid");
  });

  test("calls a page torn exactly when some of its sectors were never written", () => {
    for (let written = 0; written < 256; written++) {
      const torn = pages.slice();
      for (let sector = 0; sector < 8; sector++) {
        if ((written & (1 << sector)) === 0) torn.fill(0, sector * 512, (sector + 1) * 512);
      }
      const expected =
        written === 0
          ? { state: "empty" }
          : written === 255
            ? { state: "valid" }
            : { state: "torn", tag: batchTag(7) };
      expect(decodePage(torn, 0)).toMatchObject(expected);
    }
  });

  test("calls sectors of two batches in one page damage", () => {
    const other = encodePages(headerFor(records.length, 8), [records], 9).pages;
    const mixed = pages.slice();
    mixed.set(other.subarray(512, 1024), 512);
    expect(decodePage(mixed, 0)).toEqual({
      state: "damaged",
      reason: "sector 1 has the tag of another batch",
    });
  });

  test("never throws and never believes random bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: pageBytes, maxLength: pageBytes }), (bytes) => {
        expect(decodePage(bytes, 0).state).not.toBe("valid");
      }),
    );
  });
});
