import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { composeCommand, decodeRequest } from "../../src/api/call.ts";
import {
  compactionShape,
  deleteRangeShape,
  leaseGrantShape,
  putShape,
  rangeShape,
  txnShape,
} from "../../src/api/request-shapes.ts";
import { depthMax, isStrict } from "../../src/api/strict-fields.ts";
import { RequestError, grpcStatus } from "../../src/base/errors.ts";
import {
  CompactionRequest,
  PutRequest,
  RangeRequest,
  TxnRequest,
} from "../../src/proto/etcdserverpb/kv.ts";
import { Command } from "../../src/proto/keelson/command.ts";
import { putRequests, rangeRequests, txnRequests } from "./request-arbitraries.ts";

const shapes = [putShape, rangeShape, deleteRangeShape, txnShape, compactionShape, leaseGrantShape];

/** A field that no request has, with any wire type that can be skipped. */
const unknownField = fc
  .tuple(
    fc.integer({ min: 65, max: 5000 }),
    fc.constantFrom(WireType.Varint, WireType.Bit64, WireType.LengthDelimited, WireType.Bit32),
    fc.nat(1000),
  )
  .map(([number, wireType, value]) => {
    const writer = new BinaryWriter().tag(number, wireType);
    if (wireType === WireType.Varint) return writer.uint32(value).finish();
    if (wireType === WireType.Bit64) return writer.fixed64(value).finish();
    if (wireType === WireType.Bit32) return writer.fixed32(value).finish();
    return writer.bytes(new Uint8Array(value % 7)).finish();
  });

function nestedTxn(depth: number): TxnRequest {
  let txn = TxnRequest.fromPartial({});
  for (let i = 0; i < depth; i++) {
    txn = { compare: [], failure: [], success: [{ request: { $case: "requestTxn", value: txn } }] };
  }
  return txn;
}

describe("isStrict", () => {
  test("isStrict accepts what the generated encoder makes", () => {
    const property = fc.property(txnRequests, putRequests, rangeRequests, (txn, put, range) => {
      expect(isStrict(TxnRequest.encode(txn).finish(), txnShape)).toBe(true);
      expect(isStrict(PutRequest.encode(put).finish(), putShape)).toBe(true);
      expect(isStrict(RangeRequest.encode(range).finish(), rangeShape)).toBe(true);
    });
    fc.assert(property);
  });

  test("isStrict bytes mean what their decoded message means", () => {
    const property = fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      let strict: boolean;
      try {
        strict = isStrict(bytes, txnShape);
      } catch (error) {
        expect(error).toBeInstanceOf(RequestError);
        return;
      }
      if (!strict) return;
      const message = TxnRequest.decode(bytes);
      expect(TxnRequest.decode(TxnRequest.encode(message).finish())).toEqual(message);
    });
    fc.assert(property, { numRuns: 2000 });
  });

  test("isStrict finds an unknown field wherever it stands", () => {
    const property = fc.property(txnRequests, unknownField, (txn, unknown) => {
      const plain = TxnRequest.encode(txn).finish();
      expect(isStrict(new Uint8Array([...plain, ...unknown]), txnShape)).toBe(false);
      expect(isStrict(new Uint8Array([...unknown, ...plain]), txnShape)).toBe(false);
      // Inside: the unknown field follows the key of a put in the success branch.
      const put = new Uint8Array([
        ...PutRequest.encode(PutRequest.fromPartial({ key: Buffer.from("k") })).finish(),
        ...unknown,
      ]);
      const operation = new BinaryWriter().tag(2, WireType.LengthDelimited).bytes(put).finish();
      const nested = new BinaryWriter().tag(2, WireType.LengthDelimited).bytes(operation).finish();
      expect(isStrict(nested, txnShape)).toBe(false);
    });
    fc.assert(property);
  });

  test("isStrict says no to a known field of another wire type", () => {
    const bytes = new BinaryWriter().tag(1, WireType.Varint).uint32(5).finish();
    expect(isStrict(bytes, putShape)).toBe(false);
  });

  test("isStrict says no to a second value where one is meant", () => {
    const twice = new BinaryWriter()
      .tag(1, WireType.Varint)
      .int64(5)
      .tag(1, WireType.Varint)
      .int64(6)
      .finish();
    expect(isStrict(twice, compactionShape)).toBe(false);
    const twoOps = new BinaryWriter()
      .tag(1, WireType.LengthDelimited)
      .bytes(new Uint8Array())
      .tag(2, WireType.LengthDelimited)
      .bytes(new Uint8Array());
    const operation = new BinaryWriter()
      .tag(2, WireType.LengthDelimited)
      .bytes(twoOps.finish())
      .finish();
    expect(isStrict(operation, txnShape)).toBe(false);
  });

  test.each([
    ["a cut varint", [0x18, 0x80]],
    ["a varint of 11 bytes", [0x18, ...Array<number>(10).fill(0xff), 1]],
    ["a varint above 64 bits", [0x18, ...Array<number>(9).fill(0xff), 2]],
    ["a length beyond the end", [0x0a, 5, 1]],
    ["a length that only a 32-bit decoder would take", [0x0a, 0x81, 0x80, 0x80, 0x80, 0x10, 1]],
    ["field number 0", [0x00, 1]],
    ["a tag above 32 bits", [0x88, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 1]],
    ["a group", [0x0b, 0x0c]],
    ["the end of a group", [0x0c]],
    ["wire type 6", [0x0e]],
    ["wire type 7", [0x0f]],
    ["a cut fixed64", [0x21, 1, 2, 3]],
    ["a cut fixed32", [0x25, 1, 2, 3]],
  ])("isStrict refuses %s as no message", (_name, bytes) => {
    expect(() => isStrict(Uint8Array.from(bytes), putShape)).toThrow(
      /^grpc: error unmarshalling request: proto: cannot parse/,
    );
  });

  test("isStrict refuses a nested message that reaches over its parent's end", () => {
    // A RequestOp of 2 bytes whose put claims 9: the bytes exist, but belong to the parent.
    const bytes = Uint8Array.from([0x12, 2, 0x12, 9, 0x0a, 1, 97, 0x12, 1, 98, 0x20, 1, 0]);
    expect(() => isStrict(bytes, txnShape)).toThrow(RequestError);
  });

  test("isStrict never throws anything but a refusal", () => {
    const property = fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      for (const shape of shapes) {
        try {
          isStrict(bytes, shape);
        } catch (error) {
          expect((error as RequestError).status).toBe(grpcStatus.internal);
        }
      }
    });
    fc.assert(property, { numRuns: 2000 });
  });

  test("isStrict lets nothing pass that is too deep for a Command to be decoded", () => {
    const deepest = nestedTxn(depthMax / 2 - 1);
    const bytes = TxnRequest.encode(deepest).finish();
    expect(isStrict(bytes, txnShape)).toBe(true);
    expect(Command.decode(composeCommand("txn", bytes)).request?.$case).toBe("txn");
    expect(() => isStrict(TxnRequest.encode(nestedTxn(depthMax / 2)).finish(), txnShape)).toThrow(
      /nested too deep/,
    );
  });
});

describe("decodeRequest", () => {
  test("decodeRequest keeps strict bytes as they are", () => {
    const bytes = PutRequest.encode(PutRequest.fromPartial({ key: Buffer.from("k") })).finish();
    expect(decodeRequest(PutRequest, putShape, bytes).bytes).toBe(bytes);
  });

  test("decodeRequest encodes anew without unknown fields", () => {
    const property = fc.property(putRequests, unknownField, (put, unknown) => {
      const plain = PutRequest.encode(put).finish();
      const decoded = decodeRequest(PutRequest, putShape, new Uint8Array([...unknown, ...plain]));
      expect(decoded.bytes).toEqual(plain);
      expect(decoded.message).toEqual(put);
    });
    fc.assert(property);
  });
});

describe("composeCommand", () => {
  test("composeCommand gives the bytes that the generated encoder gives", () => {
    const property = fc.property(txnRequests, fc.nat(200_000), (txn, valueBytes) => {
      const txnCommand = Command.encode({
        request: { $case: "txn", value: txn },
        proposal: undefined,
      });
      expect(composeCommand("txn", TxnRequest.encode(txn).finish())).toEqual(txnCommand.finish());
      const put = PutRequest.fromPartial({
        key: Buffer.from("k"),
        value: new Uint8Array(valueBytes),
      });
      const command = composeCommand("put", PutRequest.encode(put).finish());
      const decoded = Command.decode(command).request;
      expect(decoded?.$case === "put" && decoded.value.value.length).toBe(valueBytes);
    });
    fc.assert(property);
  });

  test("composeCommand holds numbers that saturate, and every reader gets the same", () => {
    const bytes = new BinaryWriter().tag(1, WireType.Varint).int64("9223372036854775807").finish();
    const decoded = Command.decode(composeCommand("compaction", bytes)).request;
    expect(decoded).toEqual({
      $case: "compaction",
      value: CompactionRequest.fromPartial({ revision: Number.MAX_SAFE_INTEGER }),
    });
  });
});
