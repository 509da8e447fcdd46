import { expect, test } from "vitest";
import { grpcStatus } from "../../src/base/errors.ts";
import { CallCounts } from "../../src/server/call-counts.ts";

test("CallCounts keeps each method apart and adds bytes up", () => {
  const counts = new CallCounts();
  counts.started("/a");
  counts.received("/a", 3);
  counts.received("/b", 4);
  counts.sent("/a", 5);
  counts.finished("/a", grpcStatus.ok);
  counts.finished("/a", grpcStatus.ok);
  counts.finished("/a", grpcStatus.canceled);
  const handled = new Map([
    [grpcStatus.ok, 2],
    [grpcStatus.canceled, 1],
  ]);
  expect(counts.byPath().get("/a")).toEqual({ started: 1, received: 1, sent: 1, handled });
  expect(counts.byPath().get("/b")).toMatchObject({ started: 0, received: 1 });
  expect([counts.receivedBytes(), counts.sentBytes()]).toEqual([7, 5]);
});
