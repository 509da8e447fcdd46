// Arbitrary requests of the KV service for properties. Keys come from a small alphabet, so that
// they meet; numbers and ids include the edges of 64 bits.
import * as fc from "fast-check";
import type {
  Compare,
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RequestOp,
  TxnRequest,
} from "../../src/proto/etcdserverpb/kv.ts";

const none = new Uint8Array(0);

/** Plain arrays, as the decoder gives them: Buffers would not be equal to them. */
const bytesOf = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "latin1"));

export const keys = fc
  .constantFrom("a", "b", "c", "d", "ab", "\xff", "\xff\xff", "\0")
  .map(bytesOf);
export const rangeEnds = fc.oneof(
  { weight: 3, arbitrary: fc.constant(none) },
  fc.constantFrom("\0", "b", "c", "d", "e", "\xff").map(bytesOf),
);
const counters = fc.constantFrom(0, 1, 2, 3, 4, -1, Number.MAX_SAFE_INTEGER);
const leases = fc.constantFrom("0", "0", "1", "7", "9223372036854775807", "-9223372036854775808");

export const rangeRequests: fc.Arbitrary<RangeRequest> = fc.record({
  key: keys,
  rangeEnd: rangeEnds,
  limit: fc.constantFrom(0, 0, 1, 2),
  revision: fc.constantFrom(0, 0, 0, 2, 3, Number.MAX_SAFE_INTEGER),
  sortOrder: fc.constantFrom(0, 1, 2),
  sortTarget: fc.constantFrom(0, 1, 2, 3, 4),
  serializable: fc.boolean(),
  keysOnly: fc.boolean(),
  countOnly: fc.boolean(),
  minModRevision: fc.constantFrom(0, 0, 3),
  maxModRevision: fc.constantFrom(0, 0, 5),
  minCreateRevision: fc.constantFrom(0, 0, 3),
  maxCreateRevision: fc.constantFrom(0, 0, 5),
});

export const putRequests: fc.Arbitrary<PutRequest> = fc
  .record({
    key: keys,
    value: fc.oneof(fc.constant(none), fc.uint8Array({ minLength: 1, maxLength: 4 })),
    lease: leases,
    prevKv: fc.boolean(),
    ignoreValue: fc.constantFrom(false, false, false, true),
    ignoreLease: fc.constantFrom(false, false, false, true),
  })
  .map((put) => ({
    ...put,
    value: put.ignoreValue ? none : put.value,
    lease: put.ignoreLease ? "0" : put.lease,
  }));

export const deleteRangeRequests: fc.Arbitrary<DeleteRangeRequest> = fc.record({
  key: keys,
  rangeEnd: rangeEnds,
  prevKv: fc.boolean(),
});

export const compares: fc.Arbitrary<Compare> = fc.record({
  result: fc.constantFrom(0, 1, 2, 3),
  target: fc.constantFrom(0, 1, 2, 3, 4),
  key: keys,
  rangeEnd: rangeEnds,
  targetUnion: fc.oneof(
    fc.constant(undefined),
    fc.record({ $case: fc.constant("version" as const), value: counters }),
    fc.record({ $case: fc.constant("createRevision" as const), value: counters }),
    fc.record({ $case: fc.constant("modRevision" as const), value: counters }),
    fc.record({ $case: fc.constant("value" as const), value: fc.uint8Array({ maxLength: 2 }) }),
    fc.record({ $case: fc.constant("lease" as const), value: leases }),
  ),
});

const { txn } = fc.letrec<{ txn: TxnRequest; operation: RequestOp }>((tie) => ({
  operation: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    rangeRequests.map((value): RequestOp => ({ request: { $case: "requestRange", value } })),
    putRequests.map((value): RequestOp => ({ request: { $case: "requestPut", value } })),
    deleteRangeRequests.map((value): RequestOp => ({
      request: { $case: "requestDeleteRange", value },
    })),
    tie("txn").map((value): RequestOp => ({ request: { $case: "requestTxn", value } })),
  ),
  txn: fc.record({
    compare: fc.array(compares, { maxLength: 2 }),
    success: fc.array(tie("operation"), { maxLength: 4 }),
    failure: fc.array(tie("operation"), { maxLength: 3 }),
  }),
}));
export const txnRequests: fc.Arbitrary<TxnRequest> = txn;
