import { describe, expect, test } from "vitest";
import { AssertionError } from "../../src/base/assert.ts";
import { TxnRequest } from "../../src/proto/etcdserverpb/kv.ts";
import type { Compare, DeepPartial } from "../../src/proto/etcdserverpb/kv.ts";
import { planTxn } from "../../src/state/txn.ts";
import { Writer } from "../../src/state/write.ts";
import { applyRequest, newMachine } from "./machine-fixture.ts";
import { putOf } from "./machine-text.ts";

const key = Buffer.from("a");

describe("planTxn", () => {
  const machine = newMachine();
  applyRequest(machine, { $case: "put", value: putOf(["a", "1"]) });
  const succeeds = (compare: DeepPartial<Compare>[]): boolean =>
    planTxn(TxnRequest.fromPartial({ compare }), machine.mvcc).succeeded;

  test("planTxn takes an operand of another kind as zero, as etcd", () => {
    const wrongKind = { $case: "version" as const, value: 2 };
    expect(succeeds([{ key, target: 2, targetUnion: wrongKind }])).toBe(false);
    expect(succeeds([{ key, target: 2, result: 1, targetUnion: wrongKind }])).toBe(true);
    expect(succeeds([{ key, target: 3, result: 1, targetUnion: wrongKind }])).toBe(true);
    expect(succeeds([{ key, target: 4, targetUnion: wrongKind }])).toBe(true);
    expect(succeeds([{ key, target: 0 }])).toBe(false);
  });

  test("planTxn takes an unknown target as equal and an unknown result as true, as etcd", () => {
    expect(succeeds([{ key, target: 9 as 0 }])).toBe(true);
    expect(succeeds([{ key, target: 9 as 0, result: 3 }])).toBe(false);
    expect(succeeds([{ key, result: 9 as 0 }])).toBe(true);
    expect(succeeds([{ key: Buffer.from("none"), target: 3, result: 9 as 0 }])).toBe(false);
  });
});

test("Writer asserts that what it needs was checked", () => {
  const { mvcc, leases } = newMachine();
  const writer = new Writer({ changes: mvcc.begin(), leases });
  expect(() => writer.put(putOf(["a", "ignore-value"]))).toThrow(AssertionError);
  expect(() => writer.put(putOf(["a", "1", "ignore-lease"]))).toThrow(AssertionError);
  expect(writer.end()).toBeNull();
});
