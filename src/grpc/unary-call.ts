// A unary call: one request message, one response. The handler starts at the client's half-close,
// so that a second message is seen before anything is done for the first.
import type { UnaryMethod } from "../api/method.ts";
import { grpcStatus, RequestError } from "../base/errors.ts";
import type { Call, CallDeps } from "./call.ts";
import type { WaitingCall } from "./connection-ledger.ts";
import { MessageReader, tooManyRequestBytes } from "./message-reader.ts";

export function serveUnary(deps: CallDeps, call: Call, method: UnaryMethod): void {
  let request: Uint8Array | null = null;
  let waiting: WaitingCall | null = null;
  const reader = new MessageReader(deps, call, (message) => {
    if (request === null) request = message;
    else call.end(violation("received multiple request messages"));
  });
  deps.arrivals.begin(call);
  call.whenOver(() => {
    deps.arrivals.arrived(call);
    reader.release();
    if (waiting !== null) call.ledger.withdraw(waiting);
  });
  call.stream.on("data", (chunk: Buffer) => reader.read(chunk));
  call.stream.on("end", () => {
    // A reset ends the readable side too.
    if (call.isOver() || call.stream.aborted || !reader.finish()) return;
    deps.arrivals.arrived(call);
    if (request === null) {
      call.end(violation("received no request message"));
      return;
    }
    const message: Uint8Array = request;
    waiting = { requestBytes: message.length, run: () => void runHandler(call, method, message) };
    if (!call.ledger.maybeAdmit(waiting)) call.end(tooManyRequestBytes());
  });
}

async function runHandler(call: Call, method: UnaryMethod, request: Uint8Array): Promise<void> {
  if (call.isOver()) return;
  let response: Uint8Array;
  try {
    response = await method.handle(request, call.context);
  } catch (error) {
    // RequestError is a refusal; call.failed tells the rest apart.
    call.failed(error);
    return;
  }
  call.answer(response);
}

function violation(what: string): RequestError {
  return RequestError.worded(
    grpcStatus.internal,
    `cardinality violation: ${what} for non-client-streaming RPC`,
  );
}
