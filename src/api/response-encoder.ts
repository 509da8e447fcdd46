// Responses to bytes. Every response has its header as field 1, and protobuf messages concatenate:
// so a response is that field, whose ids are encoded once, and the generated encoding of the rest.
// The bytes are those that the generated code alone would give.
import { putVarint, varintBytes } from "../base/bytes.ts";
import { ResponseHeader } from "../proto/etcdserverpb/header.ts";
import type { Codec } from "./call.ts";
import type { ServingNode } from "./serving-node.ts";

// Of the response: field 1, a message. Of the header: fields 3 and 4, varints.
const headerTag = 0x0a;
const revisionTag = 0x18;
const termTag = 0x20;
// Of a RangeResponse: field 2, a message; field 4, a varint, here 1.
const kvsTag = 0x12;
const oneCount = Uint8Array.of(0x20, 1);

export class ResponseEncoder {
  readonly #node: Pick<ServingNode, "header">;
  /** Of the header: cluster and member. */
  readonly #ids: Uint8Array;

  constructor(node: Pick<ServingNode, "header">) {
    this.#node = node;
    this.#ids = ResponseHeader.encode({ ...node.header(0), raftTerm: 0 }).finish();
  }

  /** Completes a header that has only the revision. */
  encode<T extends { header: ResponseHeader | undefined }>(
    codec: Pick<Codec<T>, "encode">,
    response: T,
  ): Uint8Array {
    const rest = codec.encode({ ...response, header: undefined }).finish();
    const { bytes, at } = this.#withHeader(response.header?.revision ?? 0, rest.length);
    bytes.set(rest, at);
    return bytes;
  }

  /** A RangeResponse of one pair, given as protobuf has it, or of none. */
  encodeOne(revision: number, pair: Uint8Array | undefined): Uint8Array {
    if (pair === undefined) return this.#withHeader(revision, 0).bytes;
    const pairHeadBytes = 1 + varintBytes(pair.length);
    const { bytes, at } = this.#withHeader(revision, pairHeadBytes + pair.length + oneCount.length);
    bytes[at] = kvsTag;
    bytes.set(pair, putVarint(bytes, at + 1, pair.length));
    bytes.set(oneCount, at + pairHeadBytes + pair.length);
    return bytes;
  }

  /** A response with its header, and room for so many bytes from `at` on. */
  #withHeader(newest: number, restBytes: number): { bytes: Uint8Array; at: number } {
    const { revision, raftTerm } = this.#node.header(newest);
    const ids = this.#ids;
    // Below 128: two ids of at most 11 bytes, and two counters of at most 9.
    const headerBytes = ids.length + counterBytes(revision) + counterBytes(raftTerm);
    const bytes = new Uint8Array(2 + headerBytes + restBytes);
    bytes[0] = headerTag;
    bytes[1] = headerBytes;
    bytes.set(ids, 2);
    const at = putCounter(bytes, 2 + ids.length, revisionTag, revision);
    return { bytes, at: putCounter(bytes, at, termTag, raftTerm) };
  }
}

/** Protobuf leaves out what is zero. */
function counterBytes(value: number): number {
  return value === 0 ? 0 : 1 + varintBytes(value);
}

function putCounter(bytes: Uint8Array, at: number, tag: number, value: number): number {
  if (value === 0) return at;
  bytes[at] = tag;
  return putVarint(bytes, at + 1, value);
}
