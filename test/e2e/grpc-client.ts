// A client of one member over grpc-js with the generated messages: typed calls, deadlines, and a
// watch, for tests that must see exactly what each member answered.
import { Client, credentials, Metadata, type ClientDuplexStream } from "@grpc/grpc-js";
import { RequestError } from "../../src/base/errors.ts";
import {
  DeleteRangeRequest,
  DeleteRangeResponse,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  TxnRequest,
  TxnResponse,
} from "../../src/proto/etcdserverpb/kv.ts";
import { WatchRequest, WatchResponse } from "../../src/proto/etcdserverpb/watch.ts";
import type { MessageFns } from "../../src/proto/etcdserverpb/kv.ts";

type Encode<T> = Pick<MessageFns<T>, "encode">;
type Decode<T> = Pick<MessageFns<T>, "decode">;

const requestMs = 3_000;

export class MemberClient {
  readonly #client: Client;

  constructor(port: number) {
    this.#client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
      "grpc.max_reconnect_backoff_ms": 200,
      "grpc.use_local_subchannel_pool": 1,
    });
  }

  range(request: RangeRequest): Promise<RangeResponse> {
    return this.#call("KV/Range", request, RangeRequest, RangeResponse);
  }

  put(request: PutRequest): Promise<PutResponse> {
    return this.#call("KV/Put", request, PutRequest, PutResponse);
  }

  deleteRange(request: DeleteRangeRequest): Promise<DeleteRangeResponse> {
    return this.#call("KV/DeleteRange", request, DeleteRangeRequest, DeleteRangeResponse);
  }

  txn(request: TxnRequest): Promise<TxnResponse> {
    return this.#call("KV/Txn", request, TxnRequest, TxnResponse);
  }

  watch(): ClientDuplexStream<WatchRequest, WatchResponse> {
    return this.#client.makeBidiStreamRequest(
      "/etcdserverpb.Watch/Watch",
      (message: WatchRequest) => Buffer.from(WatchRequest.encode(message).finish()),
      (bytes) => WatchResponse.decode(bytes),
    );
  }

  close(): void {
    this.#client.close();
  }

  /** Rejects with RequestError, as a handler in the process would. */
  #call<Request, Response>(
    method: string,
    request: Request,
    encoder: Encode<Request>,
    decoder: Decode<Response>,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        `/etcdserverpb.${method}`,
        (message: Request) => Buffer.from(encoder.encode(message).finish()),
        (bytes) => decoder.decode(bytes),
        request,
        new Metadata(),
        { deadline: Date.now() + requestMs },
        (error, response) => {
          if (error !== null) {
            reject(RequestError.worded(error.code, error.details, error));
          } else if (response !== undefined) {
            resolve(response);
          } else {
            reject(new Error(`${method} ended without an answer`));
          }
        },
      );
    });
  }
}
