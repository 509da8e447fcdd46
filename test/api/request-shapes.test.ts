import { fromBinary, isFieldSet } from "@bufbuild/protobuf";
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FieldDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import type { DescriptorProto } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import * as shapes from "../../src/api/request-shapes.ts";
import type { MessageShape } from "../../src/api/strict-fields.ts";
import { fileDescriptorSetBase64 } from "../../src/proto/descriptors.ts";

const descriptors = new Map<string, DescriptorProto>();
const set = fromBinary(FileDescriptorSetSchema, Buffer.from(fileDescriptorSetBase64, "base64"));
for (const file of set.file) {
  for (const message of file.messageType)
    descriptors.set(`.${file.package}.${message.name}`, message);
}

function compareShape(shape: MessageShape, name: string, compared: Set<string>): void {
  if (compared.has(name)) return;
  compared.add(name);
  const fields = descriptors.get(name)?.field ?? [];
  const numbers = new Set(fields.map(({ number }) => number));
  expect(new Set(shape.keys()), name).toEqual(numbers);
  for (const field of fields) {
    const found = shape.get(field.number);
    const label = `${name}.${field.name}`;
    expect(found?.isRepeated, label).toBe(field.label === FieldDescriptorProto_Label.REPEATED);
    expect(found?.isOneof, label).toBe(
      isFieldSet(field, FieldDescriptorProtoSchema.field.oneofIndex),
    );
    if (field.type === FieldDescriptorProto_Type.MESSAGE) {
      compareShape(found?.kind as MessageShape, field.typeName, compared);
    } else {
      const isBytes = field.type === FieldDescriptorProto_Type.BYTES;
      expect(found?.kind, label).toBe(isBytes ? "bytes" : "varint");
    }
  }
}

test.each([
  ["RangeRequest", shapes.rangeShape],
  ["PutRequest", shapes.putShape],
  ["DeleteRangeRequest", shapes.deleteRangeShape],
  ["TxnRequest", shapes.txnShape],
  ["CompactionRequest", shapes.compactionShape],
  ["LeaseGrantRequest", shapes.leaseGrantShape],
  ["LeaseRevokeRequest", shapes.leaseRevokeShape],
  ["LeaseKeepAliveRequest", shapes.leaseKeepAliveShape],
  ["LeaseTimeToLiveRequest", shapes.leaseTimeToLiveShape],
  ["LeaseLeasesRequest", shapes.emptyShape],
  ["MemberListRequest", shapes.memberListShape],
  ["StatusRequest", shapes.emptyShape],
  ["AlarmRequest", shapes.alarmShape],
] as const)("the shape of %s is that of its proto file", (name, shape) => {
  compareShape(shape, `.etcdserverpb.${name}`, new Set());
});
