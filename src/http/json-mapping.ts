// Between JSON texts and protobuf bytes, by the descriptors of /proto: proto field names out, both
// spellings in, 64-bit integers as strings, bytes as base64, enums by name, zero values left out,
// unknown request fields ignored. The bytes then take the same way as a gRPC request's, so the
// gateway can give no answer that gRPC would not.
import type { DescMessage, FileRegistry, JsonValue } from "@bufbuild/protobuf";
import { createFileRegistry, fromBinary, fromJson, toBinary, toJson } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { RequestError, grpcStatus } from "../base/errors.ts";
import { fileDescriptorSetBase64 } from "../proto/descriptors.ts";
import { quoteLargeNumbers } from "./json-text.ts";

/** Messages inside each other; a response nests two deeper than its request (header, key-value). */
const requestDepthMax = 90;
const responseDepthMax = 100;

export interface MethodSchema {
  readonly input: DescMessage;
  readonly output: DescMessage;
}

export class JsonMapping {
  readonly #registry: FileRegistry;

  constructor() {
    const bytes = Buffer.from(fileDescriptorSetBase64, "base64");
    this.#registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, bytes));
  }

  /** Of a full gRPC path, "/package.Service/Method"; undefined when the descriptors lack it. */
  schema(path: string): MethodSchema | undefined {
    const [, serviceName, methodName] = path.split("/");
    const service = this.#registry.getService(serviceName ?? "");
    return service?.methods.find((method) => method.name === methodName);
  }

  /** The protobuf bytes of one JSON text; refuses what is no such message. */
  encode(type: DescMessage, text: string): Uint8Array {
    let json: JsonValue;
    try {
      json = JSON.parse(quoteLargeNumbers(text)) as JsonValue;
    } catch (cause) {
      const reason = cause instanceof SyntaxError ? cause.message : "malformed";
      throw RequestError.worded(grpcStatus.invalidArgument, `json: ${reason}`, cause);
    }
    try {
      const message = fromJson(type, json, {
        ignoreUnknownFields: true,
        recursionLimit: requestDepthMax,
      });
      return toBinary(type, message);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : "malformed";
      throw RequestError.worded(grpcStatus.invalidArgument, `json: ${reason}`, cause);
    }
  }

  /** The JSON value of our own protobuf bytes. */
  decode(type: DescMessage, bytes: Uint8Array): JsonValue {
    const message = fromBinary(type, bytes, { recursionLimit: responseDepthMax });
    return toJson(type, message, { useProtoFieldName: true });
  }
}
