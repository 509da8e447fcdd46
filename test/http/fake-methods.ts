// Methods as the gateway and the listener meet them, without a node behind: a put that answers
// what it was given, a watch that answers each request, and methods that refuse or fail.
import type { CallContext, Method, MethodTable } from "../../src/api/method.ts";
import { RequestError } from "../../src/base/errors.ts";
import { PutRequest, PutResponse, RangeResponse } from "../../src/proto/etcdserverpb/kv.ts";
import {
  LeaseKeepAliveRequest,
  LeaseKeepAliveResponse,
} from "../../src/proto/etcdserverpb/lease.ts";
import { WatchRequest, WatchResponse } from "../../src/proto/etcdserverpb/watch.ts";

export class FakeMethods {
  /** Every call's context, newest last. */
  readonly contexts: CallContext[] = [];
  readonly puts: PutRequest[] = [];
  /** Refuses the next range; null: it answers empty. */
  rangeFailure: Error | null = null;
  /** Resolved when a watch has ended. */
  readonly watchEnded = deferred();

  table(): MethodTable {
    return new Map<string, Method>([
      ["/etcdserverpb.KV/Put", { kind: "unary", handle: (...call) => this.#put(...call) }],
      ["/etcdserverpb.KV/Range", { kind: "unary", handle: (...call) => this.#range(...call) }],
      ["/etcdserverpb.Lease/LeaseRevoke", { kind: "unary", handle: refuse }],
      ["/etcdserverpb.Lease/LeaseKeepAlive", { kind: "stream", handle: keepAlive }],
      [
        "/etcdserverpb.Watch/Watch",
        {
          kind: "stream",
          handle: async (requests, sink, context) => {
            this.contexts.push(context);
            for await (const bytes of requests) {
              const request = WatchRequest.decode(bytes);
              if (request.requestUnion?.$case !== "createRequest")
                throw RequestError.of("noLeader");
              const { watchId } = request.requestUnion.value;
              sink.write(
                WatchResponse.encode(
                  WatchResponse.fromPartial({ watchId, created: true }),
                ).finish(),
              );
            }
            // As the real one: a watch outlives the end of its requests.
            await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
            this.watchEnded.resolve();
          },
        },
      ],
    ]);
  }

  async #put(bytes: Uint8Array, context: CallContext): Promise<Uint8Array> {
    this.contexts.push(context);
    const request = PutRequest.decode(bytes);
    this.puts.push(request);
    return PutResponse.encode(
      PutResponse.fromPartial({ header: { revision: 2 }, prevKv: { key: request.key } }),
    ).finish();
  }

  async #range(_bytes: Uint8Array, context: CallContext): Promise<Uint8Array> {
    this.contexts.push(context);
    if (this.rangeFailure !== null) throw this.rangeFailure;
    return RangeResponse.encode(RangeResponse.fromPartial({ header: { revision: 2 } })).finish();
  }
}

async function refuse(): Promise<Uint8Array> {
  throw RequestError.of("leaseNotFound");
}

async function keepAlive(
  requests: AsyncIterable<Uint8Array>,
  sink: { write(message: Uint8Array): boolean },
): Promise<void> {
  for await (const bytes of requests) {
    const { ID } = LeaseKeepAliveRequest.decode(bytes);
    sink.write(
      LeaseKeepAliveResponse.encode(LeaseKeepAliveResponse.fromPartial({ ID, TTL: 5 })).finish(),
    );
  }
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
