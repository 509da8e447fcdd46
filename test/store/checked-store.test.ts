import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AssertionError } from "../../src/base/assert.ts";
import type { BackendRow } from "../../src/store/backend.ts";
import { CheckedStore } from "../../src/store/checked-store.ts";
import { Journal } from "../../src/store/journal.ts";
import { emptyRecord, journalPrefix, prefixRange } from "../../src/store/layout.ts";
import { MemoryBackend } from "../../src/store/memory-backend.ts";
import { bytesOf, Layer, mergeLayers, overlayKeys, textOf } from "../../src/store/overlay.ts";
import { packedBytes, RowPacker } from "../../src/store/row-packer.ts";
import { keyBehind, scanPages } from "../../src/store/scan.ts";
import { LayeredView } from "../../src/store/store-view.ts";
import type { StoreView } from "../../src/store/store-view.ts";
import { bytes } from "../contract/backend.ts";

const options = {
  indexedPrefixes: ["K".charCodeAt(0)],
  summedPrefixes: ["L".charCodeAt(0)],
  journalSpanBytes: 4096,
};
const wholeSpace = prefixRange("K".charCodeAt(0));

async function openStore(backend: MemoryBackend): Promise<CheckedStore> {
  const opening = await CheckedStore.open(backend, options);
  if (opening.type !== "open") throw new Error(JSON.stringify(opening));
  return opening.store;
}

function commit(store: CheckedStore): void {
  store.commit({ ...store.applied, index: store.applied.index + 1, term: 1 });
}

/** Puts, or deletes where the value is null, as one entry. */
function write(store: CheckedStore, rows: Record<string, string | null>): void {
  for (const [key, value] of Object.entries(rows)) {
    if (value === null) store.delete(bytes(key));
    else store.put(bytes(key), bytes(value));
  }
  commit(store);
}

function asText(rows: readonly BackendRow[]): Record<string, string> {
  return Object.fromEntries(rows.map(({ key, value }) => [textOf(key), textOf(value)]));
}

async function contentOf(view: StoreView, rowsMax = 1000): Promise<Record<string, string>> {
  const all: BackendRow[] = [];
  let { first } = wholeSpace;
  for (;;) {
    const page = await view.rows({ first, end: wholeSpace.end }, { rowsMax, bytesMax: 1 << 20 });
    const last = page.at(-1);
    if (last === undefined) return asText(all);
    expect(page.length).toBeLessThanOrEqual(rowsMax);
    all.push(...page);
    first = keyBehind(last.key);
  }
}

describe("CheckedStore", () => {
  test("get sees writes at once, over what is frozen, in flight and in the backend", async () => {
    const store = await openStore(new MemoryBackend());
    write(store, { Ka: "1", Kb: "1", Kc: "1" });
    await store.flush();
    write(store, { Ka: "2", Kb: null });
    const flushing = store.flush();
    store.put(bytes("Ka"), bytes("3"));
    const get = (key: string) => {
      const value = store.get(bytes(key));
      return value === undefined ? undefined : textOf(value);
    };
    expect([get("Ka"), get("Kb"), get("Kc"), get("Kd")]).toEqual(["3", undefined, "1", undefined]);
    commit(store);
    await flushing;
    expect([get("Ka"), get("Kb")]).toEqual(["3", undefined]);
    await store.flush();
    expect([get("Ka"), get("Kb")]).toEqual(["3", undefined]);
    expect(store.overlayBytes()).toBe(0);
  });

  test("flush writes one batch at a time, and what gathers meanwhile in the next", async () => {
    const backend = new MemoryBackend();
    const releases: (() => void)[] = [];
    const writeNow = backend.write.bind(backend);
    let inFlight = 0;
    backend.write = async (operations) => {
      if (operations.length > 1) {
        expect(++inFlight).toBe(1);
        await new Promise<void>((resolve) => releases.push(resolve));
        inFlight--;
      }
      await writeNow(operations);
    };
    const store = await openStore(backend);
    write(store, { Ka: "1" });
    const first = store.flush();
    write(store, { Kb: "1" });
    const second = store.flush();
    write(store, { Kc: "1" });
    const third = store.flush();
    expect(releases).toHaveLength(1);
    releases[0]?.();
    await first;
    await Promise.resolve();
    expect(releases).toHaveLength(2);
    releases[1]?.();
    await Promise.all([second, third]);
    expect(releases).toHaveLength(2);
    const reopened = await openStore(new MemoryBackend(backend.image()));
    expect(reopened.applied.index).toBe(3);
  });

  test("what was not flushed is gone after a crash, with its applied index", async () => {
    const backend = new MemoryBackend();
    const store = await openStore(backend);
    write(store, { Ka: "1" });
    await store.flush();
    write(store, { Ka: "2" });
    const reopened = await openStore(new MemoryBackend(backend.image()));
    expect(reopened.applied.index).toBe(1);
    expect(reopened.get(bytes("Ka"))).toEqual(Buffer.from("1"));
  });

  test("a view sees neither later writes nor later batches, in pages of any size", async () => {
    const key = fc.constantFrom("Ka", "Kaa", "Kb", "Kc", "K\xff", "K");
    const value = fc.option(fc.string({ maxLength: 3 }), { nil: null });
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.dictionary(key, value, { maxKeys: 4 }) },
      fc.constantFrom("flush" as const, "pin" as const),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 40, size: "max" }),
        fc.integer({ min: 1, max: 3 }),
        run,
      ),
      { numRuns: 200 },
    );
    async function run(all: (Record<string, string | null> | string)[], rowsMax: number) {
      const store = await openStore(new MemoryBackend());
      const model = new Map<string, string>();
      const pinned: { view: StoreView; content: Record<string, string> }[] = [];
      for (const one of all) {
        if (one === "flush") await store.flush();
        else if (one === "pin") {
          pinned.push({ view: store.pin(), content: Object.fromEntries(model) });
        } else if (typeof one !== "string") {
          write(store, one);
          for (const [key, value] of Object.entries(one)) {
            if (value === null) model.delete(key);
            else model.set(key, Buffer.from(value, "latin1").toString("latin1"));
          }
        }
      }
      await store.flush();
      for (const { view, content } of pinned) {
        expect(await contentOf(view, rowsMax)).toEqual(content);
        await view.close();
      }
      expect(await contentOf(store.pin())).toEqual(Object.fromEntries(model));
    }
  });

  test("rows no index proves are proved by count and sum", async () => {
    const backend = new MemoryBackend();
    const store = await openStore(backend);
    write(store, { L1: "a", L2: "b" });
    write(store, { L1: "c", L2: null, L3: "d" });
    await store.flush();
    const opening = await CheckedStore.open(new MemoryBackend(backend.image()), options);
    expect(opening.type === "open" && asText(opening.summedRows)).toEqual({ L1: "c", L3: "d" });
    const rows = new Map(backend.image().rows);
    rows.delete("L3");
    const damaged = await CheckedStore.open(new MemoryBackend({ rows, damage: null }), options);
    expect(damaged).toMatchObject({ type: "damaged" });
  });

  test("refuses undeclared rows, skipped entries, and a flush or pin within an entry", async () => {
    const store = await openStore(new MemoryBackend());
    expect(() => store.put(bytes("Zz"), bytes("1"))).toThrow(AssertionError);
    store.put(bytes("Ka"), bytes("1"));
    expect(() => void store.flush()).toThrow(AssertionError);
    expect(() => store.pin()).toThrow(AssertionError);
    expect(() => store.commit({ ...store.applied, index: 2 })).toThrow(AssertionError);
  });

  test("a batch that cannot be written is an assertion for everyone who waits", async () => {
    const backend = new MemoryBackend();
    const store = await openStore(backend);
    backend.write = () => Promise.reject(new Error("disk full"));
    write(store, { Ka: "1" });
    const first = store.flush();
    const second = store.flush();
    await expect(first).rejects.toThrow(/disk full/);
    await expect(second).rejects.toThrow(AssertionError);
  });

  test("keeps journal rows for the span, and drops older ones", async () => {
    const backend = new MemoryBackend();
    const store = await openStore(backend);
    for (let i = 0; i < 100; i++) {
      write(store, { Ka: "x".repeat(200) });
      await store.flush();
    }
    const snapshot = backend.snapshot();
    let count = 0;
    for await (const page of scanPages(snapshot, prefixRange(journalPrefix))) count += page.length;
    expect(count).toBeGreaterThan(5);
    expect(count).toBeLessThan(20);
    expect((await openStore(new MemoryBackend(backend.image()))).applied.index).toBe(100);
  });
});

test("Journal.add drops a batch once the newer ones span enough", () => {
  const journal = new Journal(100, emptyRecord.batchFirst);
  expect(journal.add(60)).toEqual([]);
  expect(journal.add(60)).toEqual([]);
  expect(journal.add(60)).toEqual([1]);
  expect(journal.add(500)).toEqual([2, 3]);
  expect(journal.batchFirst()).toBe(4);
});

test("overlayKeys joins layers in byte order, each key once", () => {
  const layers = [new Layer(), new Layer(), new Layer()];
  const keys = ["b", "\xff", "a", "ab", "c", "\x7f", "\x80"];
  keys.forEach((key, i) => layers[i % 3]?.set(key, bytesOf(key)));
  layers[1]?.set("a", null);
  expect([...overlayKeys(layers, "a", "\xff")]).toEqual(["a", "ab", "b", "c", "\x7f", "\x80"]);
  expect(mergeLayers(layers).rows.get("a")).toBeInstanceOf(Uint8Array);
});

test("RowPacker packs what packedBytes counts", () => {
  const rows: [string, Uint8Array | null][] = [
    ["Ka", bytes("value")],
    ["K\xff", null],
  ];
  const size = rows.reduce((sum, [key, value]) => sum + packedBytes(key, value), 0);
  const packer = new RowPacker(Buffer.alloc(size));
  for (const [key, value] of rows) packer.add(key, value);
  expect(packer.packed()).toHaveLength(size);
  expect(() => packer.add("Kb", bytes("1"))).toThrow(AssertionError);
});

test("LayeredView goes on past rows that are deleted above the backend", async () => {
  const backend = new MemoryBackend();
  const store = await openStore(backend);
  write(store, Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`K${i + 100}`, "v"])));
  await store.flush();
  const deleted = new Layer();
  for (let i = 0; i < 49; i++) deleted.set(`K${i + 100}`, null);
  const damaged = (what: string): never => {
    throw new AssertionError(what);
  };
  const view = new LayeredView({ layers: [deleted], snapshot: backend.snapshot(), damaged });
  expect(await contentOf(view, 3)).toEqual({ K149: "v" });
});
