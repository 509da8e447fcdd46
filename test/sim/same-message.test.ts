// Messages compared field by field: whatever differs is told apart, and what does not is not.
import { describe, expect, test } from "vitest";
import { answerText, isSame, isSameAnswer, textOf } from "./same-message.ts";

const bytes = (...values: number[]) => Uint8Array.of(...values);
const pair = { key: bytes(1), value: bytes(2, 3), version: 1, lease: "0" };

describe("same message", () => {
  test("isSame takes fields in any order, and one without a value as none", () => {
    expect(isSame({ a: 1, b: [pair] }, { b: [{ ...pair }], a: 1 })).toBe(true);
    expect(isSame({ a: 1, b: undefined }, { a: 1 })).toBe(true);
    expect(isSame({ a: 1 }, { a: 1, b: undefined })).toBe(true);
    expect(isSame(bytes(1, 2), Buffer.from([1, 2]))).toBe(true);
  });

  test.each([
    ["a value", pair, { ...pair, version: 2 }],
    ["a byte", pair, { ...pair, value: bytes(2, 4) }],
    ["a byte more", pair, { ...pair, value: bytes(2, 3, 0) }],
    ["a field more", pair, { ...pair, extra: 0 }],
    ["a type", { version: 1 }, { version: "1" }],
    ["none for a message", { kv: pair }, { kv: undefined }],
    ["null for a message", { kv: pair }, { kv: null }],
    ["an item more", [pair], [pair, pair]],
    ["the order of items", [1, 2], [2, 1]],
    ["no items for no bytes", { kvs: [] }, { kvs: bytes() }],
    ["no items for no fields", { kvs: [] }, { kvs: {} }],
  ])("isSame sees another value: %s", (_, left, right) => {
    expect(isSame(left, right)).toBe(false);
    expect(isSame(right, left)).toBe(false);
    expect(isSameAnswer({ inner: left }, { inner: right })).toBe(false);
  });

  test("isSameAnswer ignores headers, at any depth, and nothing else", () => {
    const answer = (memberId: string, deleted: number) => ({
      header: { memberId },
      responses: [{ header: { memberId }, deleted }],
    });
    expect(isSameAnswer(answer("1", 3), answer("2", 3))).toBe(true);
    expect(isSame(answer("1", 3), answer("2", 3))).toBe(false);
    expect(isSameAnswer(answer("1", 3), answer("1", 4))).toBe(false);
    expect(isSameAnswer({ deleted: 1, header: {} }, { deleted: 1 })).toBe(true);
  });

  test("textOf and answerText write the same order whatever the message's", () => {
    expect(textOf({ b: bytes(97), a: [1, "x"], c: undefined })).toBe("{a: [1,x], b: 'a'}");
    expect(answerText({ b: 1, header: { a: 1 } })).toBe("{b: 1}");
  });
});
