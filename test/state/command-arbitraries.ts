// Arbitrary commands that validation would let into the log, over few keys and leases.
import * as fc from "fast-check";
import { checkDuplicateKeys } from "../../src/api/duplicate-keys.ts";
import { RequestError } from "../../src/base/errors.ts";
import type { TxnRequest } from "../../src/proto/etcdserverpb/kv.ts";
import type { CommandRequest } from "../../src/state/command.ts";
import { deleteRangeRequests, putRequests, txnRequests } from "../api/request-arbitraries.ts";

const leaseIds = fc.constantFrom("1", "7", "9223372036854775807", "-9223372036854775808");

function isValid({ success, failure }: TxnRequest): boolean {
  try {
    checkDuplicateKeys(success);
    checkDuplicateKeys(failure);
    return true;
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    return false;
  }
}

export const commands: fc.Arbitrary<CommandRequest> = fc.oneof(
  { weight: 6, arbitrary: putRequests.map((value) => ({ $case: "put" as const, value })) },
  {
    weight: 2,
    arbitrary: deleteRangeRequests.map((value) => ({ $case: "deleteRange" as const, value })),
  },
  {
    weight: 6,
    arbitrary: txnRequests.filter(isValid).map((value) => ({ $case: "txn" as const, value })),
  },
  {
    weight: 1,
    arbitrary: fc
      .integer({ min: -1, max: 12 })
      .map((revision) => ({ $case: "compaction" as const, value: { revision, physical: false } })),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(leaseIds, fc.integer({ min: 1, max: 100 }))
      .map(([ID, TTL]) => ({ $case: "leaseGrant" as const, value: { ID, TTL } })),
  },
  {
    weight: 1,
    arbitrary: leaseIds.map((ID) => ({ $case: "leaseRevoke" as const, value: { ID } })),
  },
  {
    weight: 1,
    arbitrary: fc
      .record({
        IDs: fc.array(leaseIds, { maxLength: 3 }),
        term: fc.constantFrom(1, 1, 2),
        judgedIndex: fc.constantFrom(1000, 5, 10, 20),
      })
      .map((value) => ({ $case: "leaseExpire" as const, value })),
  },
);
