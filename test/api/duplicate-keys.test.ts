import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkDuplicateKeys } from "../../src/api/duplicate-keys.ts";
import { compareBytes } from "../../src/base/bytes.ts";
import { RequestError } from "../../src/base/errors.ts";
import { DeleteRangeRequest, PutRequest } from "../../src/proto/etcdserverpb/kv.ts";
import type { RequestOp } from "../../src/proto/etcdserverpb/kv.ts";
import { txnRequests } from "./request-arbitraries.ts";

const put = (key: string): RequestOp => ({
  request: { $case: "requestPut", value: PutRequest.fromPartial({ key: Buffer.from(key) }) },
});
const del = (key: string, rangeEnd = ""): RequestOp => ({
  request: {
    $case: "requestDeleteRange",
    value: DeleteRangeRequest.fromPartial({
      key: Buffer.from(key),
      rangeEnd: Buffer.from(rangeEnd),
    }),
  },
});
const txn = (success: RequestOp[], failure: RequestOp[] = []): RequestOp => ({
  request: { $case: "requestTxn", value: { compare: [], success, failure } },
});

function isRefused(operations: readonly RequestOp[]): boolean {
  try {
    checkDuplicateKeys(operations);
    return false;
  } catch (error) {
    expect(error).toEqual(RequestError.of("duplicateKey"));
    return true;
  }
}

/** Every way a branch may run, as lists of puts and deletes; the naive form of the rule. */
function runs(operations: readonly RequestOp[]): RequestOp[][] {
  let found: RequestOp[][] = [[]];
  for (const operation of operations) {
    const { request } = operation;
    const steps =
      request?.$case === "requestTxn"
        ? [...runs(request.value.success), ...runs(request.value.failure)]
        : [[operation]];
    found = found.flatMap((before) => steps.map((after) => [...before, ...after]));
  }
  return found;
}

function meets(operation: RequestOp, key: Uint8Array): boolean {
  const { request } = operation;
  if (request?.$case === "requestPut") return compareBytes(request.value.key, key) === 0;
  if (request?.$case !== "requestDeleteRange") return false;
  const { key: first, rangeEnd } = request.value;
  if (rangeEnd.length === 0) return compareBytes(first, key) === 0;
  const isBelowEnd =
    (rangeEnd.length === 1 && rangeEnd[0] === 0) || compareBytes(key, rangeEnd) < 0;
  return compareBytes(first, key) <= 0 && isBelowEnd;
}

function isDuplicate(operations: readonly RequestOp[]): boolean {
  return operations.some(({ request }, at) => {
    if (request?.$case !== "requestPut") return false;
    return operations.some((other, i) => i !== at && meets(other, request.value.key));
  });
}

describe("checkDuplicateKeys", () => {
  test.each([
    ["nothing", [], false],
    ["two puts of one key", [put("a"), put("a")], true],
    ["two puts of two keys", [put("a"), put("b")], false],
    ["a put and its delete", [put("a"), del("a")], true],
    ["a delete and its put", [del("a"), put("a")], true],
    ["a put inside a deleted range", [put("b"), del("a", "c")], true],
    ["a put at the end of a deleted range", [put("c"), del("a", "c")], false],
    ["a put above an unbounded delete's first key", [put("zz"), del("a", "\0")], true],
    ["a put below an unbounded delete", [put("A"), del("a", "\0")], false],
    ["an empty delete range", [put("b"), del("c", "a")], false],
    ["deletes that overlap", [del("a", "c"), del("b", "d"), del("a")], false],
    ["a nested put of the same key", [put("a"), txn([put("a")])], true],
    ["puts in both branches of one nested txn", [txn([put("a")], [put("a")])], false],
    ["a put and a delete in two branches of one", [txn([put("a")], [del("a")])], false],
    ["puts in two nested txns", [txn([put("a")]), txn([], [put("a")])], true],
    ["a nested put under an outer delete", [del("a", "c"), txn([], [put("b")])], true],
    ["a nested delete over a later put", [txn([del("a", "c")]), put("b")], true],
    ["a nested put that a later nested txn deletes", [txn([put("a")]), txn([del("a")])], true],
    ["a nested delete before a nested put", [txn([del("a")]), txn([put("a")])], true],
    ["a deep one", [put("a"), txn([txn([txn([del("\0", "\0")])])])], true],
    [
      "a put shielded by its own branch's delete, met by another's",
      [txn([put("b")], [del("a", "z")]), del("a", "c")],
      true,
    ],
  ] as const)("checkDuplicateKeys of %s", (_name, operations, refused) => {
    expect(isRefused(operations)).toBe(refused);
  });

  test("checkDuplicateKeys agrees with trying every way to run", () => {
    const property = fc.property(txnRequests, ({ success }) => {
      const possible = runs(success);
      fc.pre(possible.length <= 256);
      expect(isRefused(success)).toBe(possible.some(isDuplicate));
    });
    fc.assert(property, { numRuns: 3000 });
  });

  test("checkDuplicateKeys of the largest request takes no square of its size", () => {
    const operations: RequestOp[] = [];
    for (let i = 0; i < 100_000; i++) operations.push(put(`p${i}`), del(`q${i}`, `q${i}x`));
    const start = performance.now();
    expect(isRefused(operations)).toBe(false);
    expect(performance.now() - start).toBeLessThan(5000);
  });
});
