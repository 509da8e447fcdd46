// A unary call: one request message, one response. The handler starts at the client's half-close,
// so that a second message is seen before anything is done for the first.
import type { UnaryMethod } from "../api/method.ts";
import { grpcStatus, RequestError } from "../base/errors.ts";
import type { Call, CallBody, CallDeps } from "./call.ts";
import type { WaitingCall } from "./connection-ledger.ts";
import { MessageReader, tooManyRequestBytes } from "./message-reader.ts";

export class UnaryBody implements CallBody {
  readonly #deps: CallDeps;
  readonly #call: Call;
  readonly #method: UnaryMethod;
  readonly #reader: MessageReader;
  #request: Uint8Array | null = null;
  /** Set from the moment that the request is whole. */
  #admission: WaitingCall | null = null;

  constructor(deps: CallDeps, call: Call, method: UnaryMethod) {
    this.#deps = deps;
    this.#call = call;
    this.#method = method;
    this.#reader = new MessageReader(deps, call, (message) => {
      if (this.#request === null) this.#request = message;
      else call.end(violation("received multiple request messages"));
    });
    deps.arrivals.begin(call);
  }

  read(chunk: Buffer): void {
    this.#reader.read(chunk);
  }

  finish(): void {
    if (!this.#reader.finish()) return;
    this.#deps.arrivals.arrived(this.#call);
    const request = this.#request;
    if (request === null) {
      this.#call.end(violation("received no request message"));
      return;
    }
    this.#admission = { requestBytes: request.length, run: () => void this.#run(request) };
    if (!this.#call.ledger.maybeAdmit(this.#admission)) this.#call.end(tooManyRequestBytes());
  }

  over(_refusal: RequestError | null, responseBytes: number): void {
    const { ledger } = this.#call;
    this.#deps.arrivals.arrived(this.#call);
    this.#reader.release();
    if (this.#admission !== null && !ledger.maybeWithdraw(this.#admission)) {
      ledger.ran(responseBytes);
    }
  }

  async #run(request: Uint8Array): Promise<void> {
    let response: Uint8Array;
    try {
      response = await this.#method.handle(request, this.#call.context());
    } catch (error) {
      // RequestError is a refusal; call.failed tells the rest apart.
      this.#call.failed(error);
      return;
    }
    this.#call.answer(response);
  }
}

function violation(what: string): RequestError {
  return RequestError.worded(
    grpcStatus.internal,
    `cardinality violation: ${what} for non-client-streaming RPC`,
  );
}
