// A streaming call: the handler runs from the header block on, with requests as they come and a
// sink for responses. It is over when the handler settles, the deadline passes or the client
// leaves; in the last two cases the request iterator throws and the signal is aborted.
import type { StreamMethod } from "../api/method.ts";
import { RequestError } from "../base/errors.ts";
import type { Call, CallBody, CallDeps } from "./call.ts";
import { MessageReader } from "./message-reader.ts";
import { RequestQueue } from "./request-queue.ts";
import { StreamSink } from "./response-sink.ts";

export class StreamBody implements CallBody {
  readonly #call: Call;
  readonly #method: StreamMethod;
  readonly #requests: RequestQueue;
  readonly #sink: StreamSink;
  readonly #reader: MessageReader;

  constructor(deps: CallDeps, call: Call, method: StreamMethod) {
    this.#call = call;
    this.#method = method;
    this.#requests = new RequestQueue(call.stream, deps.limits.requestQueueMax);
    this.#sink = new StreamSink(deps, call);
    this.#reader = new MessageReader(deps, call, (message) => this.#requests.push(message));
  }

  read(chunk: Buffer): void {
    this.#reader.read(chunk);
  }

  finish(): void {
    if (this.#reader.finish()) this.#requests.end();
  }

  drained(): void {
    this.#sink.drain();
  }

  over(reason: RequestError | null): void {
    this.#requests.fail(reason ?? RequestError.of("contextCanceled"));
    this.#sink.over();
    this.#reader.release();
  }

  /** Runs the handler to its end, which is the call's. */
  async run(): Promise<void> {
    try {
      await this.#method.handle(this.#requests, this.#sink, this.#call.context());
    } catch (error) {
      // RequestError is a refusal; call.failed tells the rest apart.
      this.#call.failed(error);
      return;
    }
    this.#call.end(null);
  }
}
