import { describe, expect, test } from "vitest";
import {
  validateDeleteRange,
  validatePut,
  validateRange,
  validateTxn,
} from "../../src/api/validate.ts";
import { RequestError } from "../../src/base/errors.ts";
import type { ErrorCode } from "../../src/base/errors.ts";
import {
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  TxnRequest,
} from "../../src/proto/etcdserverpb/kv.ts";
import type { DeepPartial, RequestOp } from "../../src/proto/etcdserverpb/kv.ts";

const key = Buffer.from("k");

function expectRefusal(validate: () => void, code: ErrorCode | null): void {
  if (code === null) expect(validate).not.toThrow();
  else expect(validate).toThrow(RequestError.of(code));
}

describe("validateRange", () => {
  test.each<[string, DeepPartial<RangeRequest>, ErrorCode | null]>([
    ["no key", {}, "emptyKey"],
    ["no key and a bad sort", { sortTarget: 9 as 0 }, "emptyKey"],
    ["sort target 9", { key, sortTarget: 9 as 0 }, "invalidSortOption"],
    ["sort target -1", { key, sortTarget: -1 as 0 }, "invalidSortOption"],
    ["sort order 3", { key, sortOrder: 3 as 0 }, "invalidSortOption"],
    ["the last sort options", { key, sortOrder: 2, sortTarget: 4 }, null],
    ["negative limit and revision", { key, limit: -1, revision: -1 }, null],
  ])("validateRange of %s", (_name, request, code) => {
    expectRefusal(() => validateRange(RangeRequest.fromPartial(request)), code);
  });
});

describe("validatePut", () => {
  test.each<[string, DeepPartial<PutRequest>, ErrorCode | null]>([
    ["no key", { ignoreValue: true, value: key }, "emptyKey"],
    ["ignore_value with a value", { key, ignoreValue: true, value: key }, "valueProvided"],
    ["ignore_lease with a lease", { key, ignoreLease: true, lease: "-1" }, "leaseProvided"],
    [
      "both",
      { key, ignoreValue: true, value: key, ignoreLease: true, lease: "1" },
      "valueProvided",
    ],
    ["ignore_value and ignore_lease alone", { key, ignoreValue: true, ignoreLease: true }, null],
    ["an empty value", { key }, null],
  ])("validatePut of %s", (_name, request, code) => {
    expectRefusal(() => validatePut(PutRequest.fromPartial(request)), code);
  });
});

test("validateDeleteRange of no key", () => {
  expectRefusal(() => validateDeleteRange(DeleteRangeRequest.fromPartial({})), "emptyKey");
});

describe("validateTxn", () => {
  const range: RequestOp = {
    request: { $case: "requestRange", value: RangeRequest.fromPartial({ key }) },
  };
  const nothing: RequestOp = { request: undefined };
  const ranges = (count: number): RequestOp[] => Array.from({ length: count }, () => range);
  const txn = (parts: Partial<TxnRequest>): TxnRequest => ({
    ...TxnRequest.fromPartial({}),
    ...parts,
  });
  const nested = (parts: Partial<TxnRequest>): RequestOp => ({
    request: { $case: "requestTxn", value: txn(parts) },
  });
  const compare = TxnRequest.fromPartial({ compare: [{ key }] }).compare[0];
  if (compare === undefined) throw new Error("one compare was made");
  const put = (parts: DeepPartial<PutRequest>): RequestOp => ({
    request: { $case: "requestPut", value: PutRequest.fromPartial(parts) },
  });

  test.each<[string, TxnRequest, ErrorCode | null]>([
    ["nothing", txn({}), null],
    ["as many operations as allowed", txn({ success: ranges(4), failure: ranges(4) }), null],
    ["one too many in success", txn({ success: ranges(5) }), "tooManyOps"],
    ["one too many in failure", txn({ failure: ranges(5) }), "tooManyOps"],
    [
      "one compare too many",
      txn({ compare: Array.from({ length: 5 }, () => compare) }),
      "tooManyOps",
    ],
    ["a compare without key", txn({ compare: [{ ...compare, key: Buffer.of() }] }), "emptyKey"],
    ["an operation that is nothing", txn({ success: [nothing] }), "keyNotFound"],
    [
      "a range without key",
      txn({
        failure: [{ request: { $case: "requestRange", value: RangeRequest.fromPartial({}) } }],
      }),
      "emptyKey",
    ],
    ["a put without key", txn({ success: [put({})] }), "emptyKey"],
    [
      "a nested put with a value to ignore",
      txn({ success: [nested({ failure: [put({ key, ignoreValue: true, value: key })] })] }),
      "valueProvided",
    ],
    ["a nested txn within what is left", txn({ success: [nested({ success: ranges(3) })] }), null],
    [
      "a nested txn beyond what is left",
      txn({ success: [nested({ success: ranges(4) })] }),
      "tooManyOps",
    ],
    [
      "a nested txn beyond what the wider branch leaves",
      txn({ failure: ranges(2), success: [nested({ success: ranges(3) })] }),
      "tooManyOps",
    ],
    [
      "nesting as deep as the budget",
      txn({
        success: [nested({ success: [nested({ success: [nested({ success: [range] })] })] })],
      }),
      null,
    ],
    [
      "nesting deeper than the budget",
      txn({
        success: [
          nested({
            success: [nested({ success: [nested({ success: [nested({ success: [range] })] })] })],
          }),
        ],
      }),
      "tooManyOps",
    ],
    ["a duplicate put", txn({ success: [put({ key }), put({ key })] }), "duplicateKey"],
    [
      "a duplicate put in the other branch",
      txn({ failure: [put({ key }), put({ key })] }),
      "duplicateKey",
    ],
    ["one put in each branch", txn({ success: [put({ key })], failure: [put({ key })] }), null],
    [
      "a duplicate and, later, an empty key",
      txn({ success: [put({ key }), put({ key }), put({})] }),
      "emptyKey",
    ],
  ])("validateTxn of %s", (_name, request, code) => {
    expectRefusal(() => validateTxn(request, 4), code);
  });
});
