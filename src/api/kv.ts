// The KV service: Range, RangeStream, Put, DeleteRange, Txn, Compact.
//
// Writes are validated and proposed; reads wait for the barrier, unless they are serializable,
// and are answered from this member's state. A transaction that only reads is a read: it sees one
// revision and costs no log entry.
import { assert } from "../base/assert.ts";
import { RequestError } from "../base/errors.ts";
import {
  CompactionRequest,
  CompactionResponse,
  DeleteRangeRequest,
  DeleteRangeResponse,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  TxnRequest,
  TxnResponse,
} from "../proto/etcdserverpb/kv.ts";
import type { RequestOp, ResponseOp } from "../proto/etcdserverpb/kv.ts";
import { ResponseHeader } from "../proto/etcdserverpb/header.ts";
import type { CallLimits } from "../server/call-limits.ts";
import type { ApiOptions } from "./api-options.ts";
import { decodeRequest, propose } from "./call.ts";
import type { Method, UnaryMethod } from "./method.ts";
import { rangeStream } from "./range-stream.ts";
import {
  compactionShape,
  deleteRangeShape,
  putShape,
  rangeShape,
  txnShape,
} from "./request-shapes.ts";
import { ResponseEncoder } from "./response-encoder.ts";
import type { ServingNode } from "./serving-node.ts";
import { validateDeleteRange, validatePut, validateRange, validateTxn } from "./validate.ts";

interface KvDeps {
  readonly node: ServingNode;
  readonly responses: ResponseEncoder;
}

export function kvMethods(node: ServingNode, options: ApiOptions): [string, Method][] {
  const deps = { node, responses: new ResponseEncoder(node) };
  return [
    ["/etcdserverpb.KV/Range", range(deps)],
    ["/etcdserverpb.KV/RangeStream", rangeStream(node, options)],
    ["/etcdserverpb.KV/Put", put(deps)],
    ["/etcdserverpb.KV/DeleteRange", deleteRange(deps)],
    ["/etcdserverpb.KV/Txn", txn(deps, options)],
    ["/etcdserverpb.KV/Compact", compact(deps)],
  ];
}

function range({ node, responses }: KvDeps): UnaryMethod {
  return {
    kind: "unary",
    async handle(bytes, context) {
      const { message: request } = decodeRequest(RangeRequest, rangeShape, bytes);
      validateRange(request);
      if (!request.serializable) await node.barrier(context);
      if (isOneLatest(request)) {
        const row = node.latest(request.key);
        return responses.encodeOne(node.machine.mvcc.revision(), row);
      }
      return responses.encode(RangeResponse, await node.range(request));
    },
  };
}

/** The commonest read: one key as it is now, whole. */
function isOneLatest(request: RangeRequest): boolean {
  const { rangeEnd, revision, keysOnly, countOnly } = request;
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = request;
  const isOne = rangeEnd.length === 0 && revision <= 0 && !keysOnly && !countOnly;
  const hasModBound = minModRevision !== 0 || maxModRevision !== 0;
  const hasCreateBound = minCreateRevision !== 0 || maxCreateRevision !== 0;
  return isOne && !hasModBound && !hasCreateBound;
}

function put({ node, responses }: KvDeps): UnaryMethod {
  return {
    kind: "unary",
    async handle(bytes, context) {
      const request = decodeRequest(PutRequest, putShape, bytes);
      validatePut(request.message);
      const { response } = await propose(node, { kind: "put", request: request.bytes }, context);
      return responses.encode(PutResponse, response);
    },
  };
}

function deleteRange({ node, responses }: KvDeps): UnaryMethod {
  return {
    kind: "unary",
    async handle(bytes, context) {
      const request = decodeRequest(DeleteRangeRequest, deleteRangeShape, bytes);
      validateDeleteRange(request.message);
      const command = { kind: "deleteRange", request: request.bytes } as const;
      const { response } = await propose(node, command, context);
      return responses.encode(DeleteRangeResponse, response);
    },
  };
}

function txn({ node, responses }: KvDeps, options: ApiOptions): UnaryMethod {
  return {
    kind: "unary",
    async handle(bytes, context) {
      const request = decodeRequest(TxnRequest, txnShape, bytes);
      validateTxn(request.message, options.txnOpsMax);
      const response = isReadOnly(request.message)
        ? await readTxn(node, request.message, context)
        : (await propose(node, { kind: "txn", request: request.bytes }, context)).response;
      return responses.encode(TxnResponse, response);
    },
  };
}

function isReadOnly({ success, failure }: TxnRequest): boolean {
  const isRange = (operation: RequestOp): boolean => operation.request?.$case === "requestRange";
  return success.every(isRange) && failure.every(isRange);
}

// Serializable only when every range asks for it; compares alone ask for nothing, so they get the
// stronger read. Ranges of the newest revision are all of the one at which the compares were made;
// large ones go in slices, and answer "compacted" if a compaction overtakes them.
async function readTxn(
  node: ServingNode,
  request: TxnRequest,
  limits: CallLimits,
): Promise<TxnResponse> {
  if (!isSerializable(request)) await node.barrier(limits);
  const newest = node.machine.mvcc.revision();
  const plan = node.machine.planTxn(request);
  if (typeof plan === "string") throw RequestError.of(plan);
  const header = ResponseHeader.fromPartial({ revision: newest });
  const responses: ResponseOp[] = [];
  for (const { request: operation } of plan.operations) {
    assert(operation?.$case === "requestRange", "a transaction that only reads has only ranges");
    const revision = operation.value.revision > 0 ? operation.value.revision : newest;
    const response = await node.range({ ...operation.value, revision });
    responses.push({ response: { $case: "responseRange", value: { ...response, header } } });
  }
  return { header, succeeded: plan.succeeded, responses };
}

function isSerializable({ success, failure }: TxnRequest): boolean {
  const operations = [...success, ...failure];
  return (
    operations.length > 0 &&
    operations.every(
      ({ request }) => request?.$case === "requestRange" && request.value.serializable,
    )
  );
}

function compact({ node, responses }: KvDeps): UnaryMethod {
  return {
    kind: "unary",
    async handle(bytes, context) {
      const request = decodeRequest(CompactionRequest, compactionShape, bytes);
      const command = { kind: "compaction", request: request.bytes } as const;
      const { response } = await propose(node, command, context);
      if (request.message.physical) await node.compactionDone(context);
      return responses.encode(CompactionResponse, response);
    },
  };
}
