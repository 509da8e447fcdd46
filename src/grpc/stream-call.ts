// A streaming call: the handler runs from the header block on, with requests as they come and a
// sink for responses. It is over when the handler settles, the deadline passes or the client
// leaves; in the last two cases the request iterator throws and the signal is aborted.
import type { StreamMethod } from "../api/method.ts";
import { RequestError } from "../base/errors.ts";
import type { Call, CallDeps } from "./call.ts";
import { MessageReader } from "./message-reader.ts";
import { RequestQueue } from "./request-queue.ts";
import { StreamSink } from "./response-sink.ts";

export function serveStream(deps: CallDeps, call: Call, method: StreamMethod): void {
  const { stream } = call;
  const requests = new RequestQueue(stream, deps.limits.requestQueueMax);
  const sink = new StreamSink(deps, call);
  const reader = new MessageReader(deps, call, (message) => requests.push(message));
  call.whenOver((reason) => {
    requests.fail(reason ?? RequestError.of("contextCanceled"));
    sink.over();
    reader.release();
  });
  stream.on("data", (chunk: Buffer) => reader.read(chunk));
  stream.on("end", () => {
    // A reset ends the readable side too.
    if (!call.isOver() && !stream.aborted && reader.finish()) requests.end();
  });
  // A paused stream is not closed by a reset before it is read; the call must end at once.
  stream.on("aborted", () => stream.resume());
  void runHandler(call, method, requests, sink);
}

async function runHandler(
  call: Call,
  method: StreamMethod,
  requests: RequestQueue,
  sink: StreamSink,
): Promise<void> {
  try {
    await method.handle(requests, sink, call.context);
  } catch (error) {
    // RequestError is a refusal; call.failed tells the rest apart.
    call.failed(error);
    return;
  }
  call.end(null);
}
