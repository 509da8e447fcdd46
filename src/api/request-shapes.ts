// The wire shapes of the requests that clients send, for strict-fields.ts: field numbers and wire
// types as in proto/etcdserverpb. test/api checks them against the generated descriptors.
import type { FieldKind, FieldShape, MessageShape } from "./strict-fields.ts";

type Row = readonly [number: number, kind: FieldKind, rule?: "repeated" | "oneof"];

function shapeOf(rows: readonly Row[]): MessageShape {
  return fill(new Map(), rows);
}

function fill(shape: MessageShape, rows: readonly Row[]): MessageShape {
  for (const [number, kind, rule] of rows) {
    const field: FieldShape = {
      kind,
      isRepeated: rule === "repeated",
      isOneof: rule === "oneof",
    };
    shape.set(number, field);
  }
  return shape;
}

/** Fields first .. last, all of them varints. */
function varints(first: number, last: number): Row[] {
  return Array.from({ length: last - first + 1 }, (_, i): Row => [first + i, "varint"]);
}

export const rangeShape = shapeOf([[1, "bytes"], [2, "bytes"], ...varints(3, 13)]);
export const putShape = shapeOf([[1, "bytes"], [2, "bytes"], ...varints(3, 6)]);
export const deleteRangeShape = shapeOf([
  [1, "bytes"],
  [2, "bytes"],
  [3, "varint"],
]);
const compareShape = shapeOf([
  ...varints(1, 2),
  [3, "bytes"],
  [4, "varint", "oneof"],
  [5, "varint", "oneof"],
  [6, "varint", "oneof"],
  [7, "bytes", "oneof"],
  [8, "varint", "oneof"],
  [64, "bytes"],
]);

export const txnShape: MessageShape = new Map();
const requestOpShape = shapeOf([
  [1, rangeShape, "oneof"],
  [2, putShape, "oneof"],
  [3, deleteRangeShape, "oneof"],
  [4, txnShape, "oneof"],
]);
fill(txnShape, [
  [1, compareShape, "repeated"],
  [2, requestOpShape, "repeated"],
  [3, requestOpShape, "repeated"],
]);

export const compactionShape = shapeOf(varints(1, 2));
export const leaseGrantShape = shapeOf(varints(1, 2));
export const leaseRevokeShape = shapeOf(varints(1, 1));
export const leaseKeepAliveShape = shapeOf(varints(1, 1));
export const leaseTimeToLiveShape = shapeOf(varints(1, 2));
export const memberListShape = shapeOf(varints(1, 1));
export const alarmShape = shapeOf(varints(1, 3));
export const emptyShape = shapeOf([]);
