import { expect, test } from "vitest";
import { DeleteRangeResponse, TxnResponse } from "../../src/proto/etcdserverpb/kv.ts";
import { OperationCounts } from "../../src/server/operation-counts.ts";

test("OperationCounts counts operations inside of transactions by their kind", () => {
  const counts = new OperationCounts();
  const responseDeleteRange = DeleteRangeResponse.fromPartial({ deleted: 3 });
  const inner = { response: { $case: "responsePut" as const, value: {} } };
  const response = TxnResponse.fromPartial({
    responses: [
      { response: { $case: "responseDeleteRange", value: responseDeleteRange } },
      { response: { $case: "responseRange", value: {} } },
      { response: { $case: "responseTxn", value: { responses: [inner] } } },
    ],
  });
  counts.applied({ type: "txn", response });
  counts.applied({ type: "txn", response: TxnResponse.fromPartial({ responses: [inner] }) });
  counts.applied({ type: "error", code: "leaseNotFound" });
  counts.ranged();
  expect(counts.counts()).toEqual({
    puts: 2,
    deletedKeys: 3,
    ranges: 2,
    txns: 1,
    leasesGranted: 0,
    leasesRevoked: 0,
  });
});
