// RangeStream: one Range in pieces, all of one revision, so that a large answer never stands in
// memory whole.
//
//   first piece pins the revision → pieces of keys, sized by what the last one weighed → the last
//   one carries header, count and more; all pieces merged are the answer that Range would give
import { concatBytes } from "../base/bytes.ts";
import { RequestError, grpcStatus } from "../base/errors.ts";
import {
  RangeRequest,
  RangeRequest_SortOrder,
  RangeRequest_SortTarget,
  RangeStreamResponse,
} from "../proto/etcdserverpb/kv.ts";
import type { RangeResponse } from "../proto/etcdserverpb/kv.ts";
import type { ApiOptions } from "./api-options.ts";
import { decodeRequest, onlyRequest } from "./call.ts";
import type { CallContext, ResponseSink, StreamMethod } from "./method.ts";
import { rangeShape } from "./request-shapes.ts";
import type { ServingNode } from "./serving-node.ts";
import { validateRange } from "./validate.ts";

/** Keys in the first piece; as etcd. */
const firstPieceKeys = 10;

export function rangeStream(node: ServingNode, options: ApiOptions): StreamMethod {
  return {
    kind: "stream",
    async handle(requests, sink, context) {
      const bytes = await onlyRequest(requests);
      const { message: request } = decodeRequest(RangeRequest, rangeShape, bytes);
      validateRange(request);
      refuseUnsupported(request);
      if (!request.serializable) await node.barrier(context);
      await sendPieces({ node, sink, context }, request, options.requestBytesMax);
    },
  };
}

function refuseUnsupported(request: RangeRequest): void {
  const isKeyAscending =
    request.sortTarget === RangeRequest_SortTarget.KEY &&
    request.sortOrder !== RangeRequest_SortOrder.DESCEND;
  if (!isKeyAscending) {
    const text = "RangeStream does not support custom sort orders";
    throw RequestError.worded(grpcStatus.unimplemented, text);
  }
  const bounds = [
    request.minModRevision,
    request.maxModRevision,
    request.minCreateRevision,
    request.maxCreateRevision,
  ];
  if (bounds.some((bound) => bound !== 0)) {
    const text = "RangeStream does not support revision filters";
    throw RequestError.worded(grpcStatus.unimplemented, text);
  }
}

interface Target {
  readonly node: ServingNode;
  readonly sink: ResponseSink;
  readonly context: CallContext;
}

async function sendPieces(
  { node, sink, context }: Target,
  request: RangeRequest,
  bytesAim: number,
): Promise<void> {
  const keysMax = request.limit > 0 ? request.limit : Infinity;
  let pieceKeys = firstPieceKeys;
  let sentKeys = 0;
  let next = request;
  let header: RangeResponse["header"];
  let count = 0;
  for (;;) {
    const limit = Math.min(pieceKeys, keysMax - sentKeys);
    const piece = await node.range({ ...next, limit });
    if (header === undefined) {
      header = node.header(piece.header?.revision ?? 0);
      count = piece.count;
    }
    sentKeys += piece.kvs.length;
    const last = piece.kvs.at(-1);
    const isLast = last === undefined || !piece.more || sentKeys >= keysMax;
    const fields = isLast ? { header, kvs: piece.kvs, more: piece.more, count } : undefined;
    const rangeResponse = fields ?? { header: undefined, kvs: piece.kvs, more: false, count: 0 };
    const message = RangeStreamResponse.encode({ rangeResponse }).finish();
    if (message.length < bytesAim / 2) pieceKeys *= 2;
    else if (message.length > bytesAim * 2) pieceKeys = Math.max(1, Math.floor(pieceKeys / 2));
    if (!sink.write(message)) await sink.drained();
    if (isLast || context.signal.aborted) return;
    const revision = request.revision > 0 ? request.revision : header.revision;
    next = { ...request, key: concatBytes([last.key, afterKey]), revision };
  }
}

/** Appended to a key, it gives the next possible key. */
const afterKey = new Uint8Array(1);
