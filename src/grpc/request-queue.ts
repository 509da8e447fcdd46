// The messages of a streaming request between the socket and the handler. Bounded by pausing the
// stream: HTTP/2 flow control then stops the client. It overshoots by what one DATA chunk held.
//
//   open ── end() ──► ended      the iterator gives what is left, then is done
//   open ── fail() ─► failed     the iterator drops what is left and throws
//
// One reader, which asks for one message at a time, as `for await` does.
import { assert } from "../base/assert.ts";

/** The part of a stream that the queue needs. */
export interface Flow {
  pause(): void;
  resume(): void;
}

type End = { readonly type: "ended" } | { readonly type: "failed"; readonly error: Error };

interface Waiter {
  resolve(result: IteratorResult<Uint8Array>): void;
  reject(error: Error): void;
}

export class RequestQueue implements AsyncIterable<Uint8Array> {
  readonly #flow: Flow;
  readonly #messagesMax: number;
  #messages: Uint8Array[] = [];
  #isPaused = false;
  #end: End | null = null;
  #waiter: Waiter | null = null;

  constructor(flow: Flow, messagesMax: number) {
    this.#flow = flow;
    this.#messagesMax = messagesMax;
  }

  push(message: Uint8Array): void {
    if (this.#end !== null) return;
    if (this.#waiter !== null) {
      const waiter = this.#waiter;
      this.#waiter = null;
      waiter.resolve({ done: false, value: message });
      return;
    }
    this.#messages.push(alone(message));
    if (this.#messages.length >= this.#messagesMax && !this.#isPaused) {
      this.#isPaused = true;
      this.#flow.pause();
    }
  }

  end(): void {
    if (this.#end !== null) return;
    this.#end = { type: "ended" };
    this.#waiter?.resolve({ done: true, value: undefined });
    this.#waiter = null;
  }

  fail(error: Error): void {
    if (this.#end?.type === "failed") return;
    this.#end = { type: "failed", error };
    this.#discard();
    this.#waiter?.reject(error);
    this.#waiter = null;
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return {
      next: () => this.#next(),
      // The handler wants no more: what still comes is read and dropped.
      return: () => {
        this.end();
        this.#discard();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  #next(): Promise<IteratorResult<Uint8Array>> {
    if (this.#end?.type === "failed") return Promise.reject(this.#end.error);
    const message = this.#messages.shift();
    if (message !== undefined) {
      if (this.#isPaused && this.#messages.length <= this.#messagesMax / 2) this.#resume();
      return Promise.resolve({ done: false, value: message });
    }
    if (this.#end !== null) return Promise.resolve({ done: true, value: undefined });
    assert(this.#waiter === null, "two reads of one request stream at a time");
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
    });
  }

  #discard(): void {
    this.#messages = [];
    if (this.#isPaused) this.#resume();
  }

  #resume(): void {
    this.#isPaused = false;
    this.#flow.resume();
  }
}

/** Waiting, a message of a few bytes must not keep the whole read of the socket that it came in. */
function alone(message: Uint8Array): Uint8Array {
  return message.buffer.byteLength > 2 * message.length ? new Uint8Array(message) : message;
}
