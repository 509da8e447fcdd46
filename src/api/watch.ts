// The Watch service: one bidirectional stream that creates, cancels and serves any number of
// watches. What a watch means is watch-hub.ts's; here requests are decoded, and the stream's sink
// is tied to the hub: full when the edge says so, resumed when it has drained.
//
// Requests wait while the sink is full: their answers are small, but a client that asks without
// reading could pile them up. A client that half-closes keeps its watches; the stream ends when
// the client goes, and then with Canceled.
import { RequestError } from "../base/errors.ts";
import type { WatchId } from "../base/ids.ts";
import { WatchRequest } from "../proto/etcdserverpb/watch.ts";
import type { WatchHub } from "../server/watch-hub.ts";
import type { WatchSink, WatchStream } from "../server/watch-stream.ts";
import type { Method, ResponseSink, StreamMethod } from "./method.ts";
import { malformed } from "./strict-fields.ts";

export function watchMethods(node: { readonly watchHub: WatchHub }): [string, Method][] {
  return [["/etcdserverpb.Watch/Watch", watch(node.watchHub)]];
}

function watch(hub: WatchHub): StreamMethod {
  return {
    kind: "stream",
    async handle(requests, sink, context) {
      const { signal } = context;
      const stream = hub.openStream(
        watchSink(sink, () => {
          if (!signal.aborted) hub.resume(stream);
        }),
      );
      try {
        for await (const bytes of requests) {
          const request = decodeWatchRequest(bytes);
          while (stream.isFull() && !signal.aborted) await sink.drained();
          if (signal.aborted) break;
          serve(hub, stream, request);
        }
        await aborted(signal);
        throw RequestError.of("watchCanceled");
      } finally {
        hub.closeStream(stream);
      }
    },
  };
}

function decodeWatchRequest(bytes: Uint8Array): WatchRequest {
  try {
    return WatchRequest.decode(bytes);
  } catch (error) {
    // The generated decoder's errors: bytes that are no such message.
    throw malformed(String(error));
  }
}

/** A union that this version does not know is ignored. */
function serve(hub: WatchHub, stream: WatchStream, { requestUnion }: WatchRequest): void {
  switch (requestUnion?.$case) {
    case "createRequest":
      hub.create(stream, requestUnion.value);
      break;
    case "cancelRequest":
      hub.cancel(stream, requestUnion.value.watchId as WatchId);
      break;
    case "progressRequest":
      hub.requestProgress(stream);
      break;
    case undefined:
      break;
  }
}

function watchSink(sink: ResponseSink, resume: () => void): WatchSink {
  let isWaiting = false;
  const waitForRoom = async () => {
    isWaiting = true;
    await sink.drained();
    isWaiting = false;
    resume();
  };
  return {
    write(parts) {
      const hasRoom = sink.writeParts(parts);
      if (!hasRoom && !isWaiting) void waitForRoom();
      return hasRoom;
    },
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
