// What every backend must do, whatever it is made of. Run on the memory form and on LevelDB.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import * as fc from "fast-check";
import { compareBytes } from "../../src/base/bytes.ts";
import type {
  Backend,
  BackendOperation,
  BackendPlace,
  BackendSnapshot,
} from "../../src/store/backend.ts";

const all = { first: new Uint8Array(0), end: Uint8Array.of(0xff, 0xff, 0xff) };
const wide = { rowsMax: 10_000, bytesMax: 1 << 30 };

export function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "latin1"));
}

function put(key: string, value: string): BackendOperation {
  return { type: "put", key: bytes(key), value: bytes(value) };
}

function del(key: string): BackendOperation {
  return { type: "del", key: bytes(key) };
}

async function contentOf(snapshot: BackendSnapshot): Promise<Record<string, string>> {
  const rows = await snapshot.rows(all, wide);
  const text = (value: Uint8Array) => Buffer.from(value).toString("latin1");
  return Object.fromEntries(rows.map(({ key, value }) => [text(key), text(value)]));
}

export async function opened(place: BackendPlace): Promise<Backend> {
  const opening = await place.open();
  if (opening.type !== "open") throw new Error(opening.reason);
  return opening.backend;
}

export function backendContract(name: string, makePlace: () => Promise<BackendPlace>): void {
  describe(`${name} keeps the backend contract`, () => {
    let place: BackendPlace;
    let backend: Backend;

    beforeEach(async () => {
      place = await makePlace();
      backend = await opened(place);
    });
    afterEach(async () => {
      await backend.close();
      await place.wipe();
    });

    async function content(): Promise<Record<string, string>> {
      const snapshot = backend.snapshot();
      const found = await contentOf(snapshot);
      await snapshot.close();
      return found;
    }

    test("write keeps a copy: its memory is the caller's again when it has resolved", async () => {
      const memory = Buffer.from("keyvalue");
      const [key, value] = [memory.subarray(0, 3), memory.subarray(3)];
      await backend.write([{ type: "put", key, value }]);
      memory.fill(0);
      expect(await content()).toEqual({ key: "value" });
    });

    test("getSync gives what was written, and undefined for what was not", async () => {
      await backend.write([put("a", "1"), put("b", ""), put("c", "3"), del("c")]);
      expect([...(backend.getSync(bytes("a")) ?? [])]).toEqual([0x31]);
      expect(backend.getSync(bytes("b"))).toHaveLength(0);
      expect(backend.getSync(bytes("c"))).toBeUndefined();
      expect(backend.getSync(bytes("d"))).toBeUndefined();
    });

    test("write applies its operations in the order given", async () => {
      await backend.write([put("a", "1"), put("a", "2"), del("b"), put("b", "3")], { sync: true });
      expect(await content()).toEqual({ a: "2", b: "3" });
    });

    test("write leaves the caller's bytes alone", async () => {
      const key = bytes("k");
      const value = bytes("v");
      await backend.write([{ type: "put", key, value }]);
      key[0] = 0;
      value[0] = 0;
      expect(await content()).toEqual({ k: "v" });
    });

    test("snapshot does not see what is written after it", async () => {
      await backend.write([put("a", "1"), put("b", "1")]);
      const snapshot = backend.snapshot();
      await backend.write([put("a", "2"), del("b"), put("c", "2")]);
      expect(await contentOf(snapshot)).toEqual({ a: "1", b: "1" });
      await snapshot.close();
      expect(await content()).toEqual({ a: "2", c: "2" });
    });

    test("snapshot.rows gives the range in key order, first included, end not", async () => {
      await backend.write(["b", "a", "\xff", "ab", "\x00", "c"].map((key) => put(key, key)));
      const snapshot = backend.snapshot();
      const rows = await snapshot.rows({ first: bytes("a"), end: bytes("c") }, wide);
      await snapshot.close();
      expect(rows.map(({ key }) => Buffer.from(key).toString("latin1"))).toEqual(["a", "ab", "b"]);
    });

    test("snapshot.rows stops behind its limits, and never before the first row", async () => {
      await backend.write(["a", "b", "c", "d"].map((key) => put(key, "x".repeat(1000))));
      const snapshot = backend.snapshot();
      expect(await snapshot.rows(all, { rowsMax: 2, bytesMax: 1 << 20 })).toHaveLength(2);
      const few = await snapshot.rows(all, { rowsMax: 4, bytesMax: 1500 });
      expect(few.length).toBeGreaterThan(0);
      expect(few.length).toBeLessThan(4);
      expect((await snapshot.rows(all, { rowsMax: 4, bytesMax: 1 })).length).toBeGreaterThan(0);
      await snapshot.close();
    });

    test("any bytes are keys, in bytewise order", async () => {
      const rowKeys = fc.uint8Array({ minLength: 1, maxLength: 4, max: 0xfe });
      await fc.assert(
        fc.asyncProperty(fc.array(rowKeys, { minLength: 1, maxLength: 20 }), async (keys) => {
          const before = backend.snapshot();
          const old = await before.rows(all, wide);
          await before.close();
          await backend.write(old.map(({ key }) => ({ type: "del", key })));
          await backend.write(keys.map((key) => ({ type: "put", key, value: key })));
          const snapshot = backend.snapshot();
          const rows = await snapshot.rows(all, wide);
          await snapshot.close();
          const unique = new Map(keys.map((key) => [Buffer.from(key).toString("latin1"), key]));
          const expected = [...unique.values()].toSorted(compareBytes);
          expect(rows.map(({ key }) => [...key])).toEqual(expected.map((key) => [...key]));
        }),
        { numRuns: 30 },
      );
    });

    test("close and open find what was written", async () => {
      await backend.write([put("a", "1")]);
      await backend.write([put("b", "2")], { sync: true });
      await backend.close();
      backend = await opened(place);
      expect(await content()).toEqual({ a: "1", b: "2" });
    });

    test("diskBytes grows with what is written", async () => {
      const before = await backend.diskBytes();
      await backend.write([put("a", "x".repeat(10_000))]);
      expect(await backend.diskBytes()).toBeGreaterThan(before + 9000);
    });

    test("markDamaged makes the next open give the reason, until the place is wiped", async () => {
      await backend.write([put("a", "1")]);
      backend.markDamaged("row 7 is wrong");
      await backend.close();
      const damaged = await place.open();
      expect(damaged).toMatchObject({ type: "damaged" });
      expect(damaged.type === "damaged" && damaged.reason).toContain("row 7 is wrong");
      await place.wipe();
      backend = await opened(place);
      expect(await content()).toEqual({});
    });
  });
}
