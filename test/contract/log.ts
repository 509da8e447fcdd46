// What every log must do, whatever it is made of. Run on the memory form and on the write-ahead
// log. `open` opens the same log again after `close`, as a new start.
import { describe, expect, test } from "vitest";
import type { ClusterId, MemberId } from "../../src/base/ids.ts";
import { entryBytes } from "../../src/raft/codec.ts";
import type { Entry, HardState } from "../../src/raft/entry.ts";
import type { Log } from "../../src/wal/log.ts";

export const cluster = "14841639068965178418" as ClusterId;
export const member = "10276657743932975437" as MemberId;
const other = "372617" as MemberId;
export const configuration = { voters: [member, other], learners: [] };

export function entry(index: number, term = 1, size = 8): Entry {
  return { term, index, kind: "normal", data: new Uint8Array(size).fill(index % 251) };
}

/** Entries first..last of a term. */
export function entries(first: number, last: number, term = 1, size = 8): Entry[] {
  return Array.from({ length: last - first + 1 }, (_, i) => entry(first + i, term, size));
}

export function idsOf(log: readonly Entry[]): string {
  return log.map((one) => `${one.term}:${one.index}`).join(" ");
}

/** Everything in a log that a start recovered, or that was appended since. */
export async function contentOf(log: Log, last = log.recovered.lastIndex): Promise<Entry[]> {
  return last === 0 ? [] : log.read(1, last, Infinity);
}

export interface LogUnderTest {
  /** Opens it, as a new start. */
  readonly open: () => Promise<Log>;
  /** Lets what the log waits for happen, until the promise is settled. */
  readonly finish: <T>(promise: Promise<T>) => Promise<T>;
}

export function describeLog(name: string, make: () => LogUnderTest): void {
  describe(`${name} as a Log`, () => {
    test("open of a new log recovers nothing and counts the first start", async () => {
      const { open } = make();
      const { recovered } = await open();
      expect(recovered).toMatchObject({
        identity: { cluster, member, start: 1 },
        hardState: { term: 0, vote: null, commit: 0 },
        configuration,
        firstIndex: 1,
        lastIndex: 0,
        tornPages: 0,
      });
    });

    test("open keeps the store id and counts every start", async () => {
      const { open, finish } = make();
      const first = await open();
      await finish(first.close());
      const second = await open();
      expect(second.recovered.identity).toEqual({ ...first.recovered.identity, start: 2 });
    });

    test("append makes entries and hard state survive", async () => {
      const { open, finish } = make();
      const log = await open();
      const hardState: HardState = { term: 3, vote: other, commit: 2 };
      await finish(log.append({ hardState, entries: entries(1, 5, 3) }));
      await finish(log.close());
      const again = await open();
      expect(again.recovered).toMatchObject({ hardState, firstIndex: 1, lastIndex: 5 });
      expect(await finish(contentOf(again))).toEqual(entries(1, 5, 3));
    });

    test("append without entries or without hard state leaves the other as it is", async () => {
      const { open, finish } = make();
      const log = await open();
      const hardState: HardState = { term: 2, vote: member, commit: 0 };
      await finish(log.append({ hardState, entries: [] }));
      await finish(log.append({ hardState: null, entries: entries(1, 1, 2) }));
      await finish(log.append({ hardState: null, entries: [] }));
      await finish(log.close());
      expect((await open()).recovered).toMatchObject({ hardState, lastIndex: 1 });
    });

    test("append keeps a configuration entry's kind and an empty entry's emptiness", async () => {
      const { open, finish } = make();
      const log = await open();
      const odd: Entry[] = [
        { term: 1, index: 1, kind: "normal", data: new Uint8Array(0) },
        { term: 1, index: 2, kind: "configuration", data: Uint8Array.of(1, 2, 3) },
      ];
      await finish(log.append({ hardState: null, entries: odd }));
      await finish(log.close());
      expect(await finish(contentOf(await open()))).toEqual(odd);
    });

    test("append over existing entries cuts the log there, also after a restart", async () => {
      const { open, finish } = make();
      const log = await open();
      await finish(log.append({ hardState: null, entries: entries(1, 6, 1) }));
      await finish(log.append({ hardState: null, entries: entries(4, 5, 2) }));
      expect(idsOf(await finish(contentOf(log, 5)))).toBe("1:1 1:2 1:3 2:4 2:5");
      await finish(log.close());
      const again = await open();
      expect(idsOf(await finish(contentOf(again)))).toBe("1:1 1:2 1:3 2:4 2:5");
      await finish(again.append({ hardState: null, entries: entries(1, 1, 3) }));
      await finish(again.close());
      expect(idsOf(await finish(contentOf(await open())))).toBe("3:1");
    });

    test("append of many at once resolves them in the order given", async () => {
      const { open, finish } = make();
      const log = await open();
      const order: number[] = [];
      const appends = entries(1, 50).map(async (one, i) => {
        await log.append({ hardState: null, entries: [one] });
        order.push(i);
      });
      await finish(Promise.all(appends));
      expect(order).toEqual(Array.from({ length: 50 }, (_, i) => i));
      await finish(log.close());
      expect((await open()).recovered.lastIndex).toBe(50);
    });

    test("read cuts after bytesMax but gives at least one entry", async () => {
      const { open, finish } = make();
      const log = await open();
      await finish(log.append({ hardState: null, entries: entries(1, 9, 1, 100) }));
      const each = entryBytes(entry(1, 1, 100));
      expect(idsOf(await finish(log.read(2, 8, 0)))).toBe("1:2");
      expect(idsOf(await finish(log.read(2, 8, each * 3)))).toBe("1:2 1:3 1:4");
      expect(idsOf(await finish(log.read(2, 8, each * 4 - 1)))).toBe("1:2 1:3 1:4");
      expect(idsOf(await finish(log.read(9, 9, Infinity)))).toBe("1:9");
    });

    test("read sees appends that are not synced yet", async () => {
      const { open, finish } = make();
      const log = await open();
      await finish(log.append({ hardState: null, entries: entries(1, 3) }));
      const append = log.append({ hardState: null, entries: entries(3, 5, 2) });
      expect(idsOf(await finish(log.read(1, 5, Infinity)))).toBe("1:1 1:2 2:3 2:4 2:5");
      await finish(append);
    });

    test("syncAgeMs is zero when nothing waits for the disk", async () => {
      const { open, finish } = make();
      const log = await open();
      expect(log.syncAgeMs()).toBe(0);
      await finish(log.append({ hardState: null, entries: entries(1, 1) }));
      expect(log.syncAgeMs()).toBe(0);
    });

    test("close waits for what was appended", async () => {
      const { open, finish } = make();
      const log = await open();
      const append = log.append({ hardState: null, entries: entries(1, 2) });
      await finish(log.close());
      await append;
      expect((await open()).recovered.lastIndex).toBe(2);
    });
  });
}
