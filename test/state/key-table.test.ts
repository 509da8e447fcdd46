// The table of hashes answers as a map would, also when it is too full or keys collide.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { KeyRecord } from "../../src/state/key-record.ts";
import { KeyTable } from "../../src/state/key-table.ts";
import { KeyTree } from "../../src/state/key-tree.ts";

const keyOf = (number: number) => new TextEncoder().encode(`/registry/pods/${number}`);

test("KeyTable finds what was added and not removed", () => {
  const command = fc.tuple(fc.constantFrom("add", "add", "remove", "find"), fc.nat(3_000));
  fc.assert(
    fc.property(fc.array(command, { maxLength: 5_000, size: "max" }), (commands) => {
      const table = new KeyTable();
      const model = new Map<number, KeyRecord>();
      for (const [name, number] of commands) {
        const record = model.get(number);
        if (name === "add" && record === undefined) {
          const added = new KeyRecord(keyOf(number));
          model.set(number, added);
          table.add(added);
        } else if (name === "remove" && record !== undefined) {
          table.remove(record);
          model.delete(number);
        }
        const found = table.find(keyOf(number));
        if (found !== null) expect(found).toBe(model.get(number));
      }
      for (const [number, record] of model) {
        const found = table.find(keyOf(number));
        if (found !== null) expect(found).toBe(record);
      }
    }),
    { numRuns: 30 },
  );
});

test("KeyTable has a place for nearly every key, and says so of the others", () => {
  const table = new KeyTable();
  const count = 50_000;
  for (let i = 0; i < count; i++) table.add(new KeyRecord(keyOf(i)));
  let missing = 0;
  for (let i = 0; i < count; i++) {
    const found = table.find(keyOf(i));
    if (found === null) missing++;
    else expect(found?.key).toEqual(keyOf(i));
  }
  expect(missing).toBeLessThan(count / 100);
});

/** Keys that fall into one bucket of a small table: those for which it has no place when one key
 * has taken all of them. */
function keysOfOneBucket(count: number): ReturnType<typeof keyOf>[] {
  const full = new KeyTable();
  for (let i = 0; i < 16; i++) full.add(new KeyRecord(keyOf(0)));
  const keys = [keyOf(0)];
  for (let i = 1; keys.length < count; i++) {
    const record = new KeyRecord(keyOf(i));
    full.add(record);
    if (full.find(keyOf(-1)) === null) keys.push(keyOf(i));
    full.remove(record);
  }
  return keys;
}

test("KeyTable leaves keys beyond the places of their bucket to the tree", () => {
  const table = new KeyTable();
  const records = keysOfOneBucket(40).map((key) => new KeyRecord(key));
  for (const record of records) table.add(record);
  const answers = records.map((record) => table.find(record.key));
  expect(answers.slice(0, 16)).toEqual(records.slice(0, 16));
  expect(answers.slice(16)).toEqual(Array(24).fill(null));
  for (const record of records) table.remove(record);
  for (const { key } of records) expect(table.find(key)).toBeUndefined();
});

test("KeyTree finds keys that all share one bucket", () => {
  const tree = new KeyTree();
  const keys = keysOfOneBucket(60);
  for (const key of keys.slice(0, 50)) tree.insert(new KeyRecord(key));
  for (const key of keys.slice(0, 50)) expect(tree.find(key)?.key).toEqual(key);
  for (const key of keys.slice(50)) expect(tree.find(key)).toBeUndefined();
});
