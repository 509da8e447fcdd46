// A method as both edges (gRPC and JSON) call it: request bytes in, response bytes out. Handlers
// know neither HTTP nor gRPC; they throw RequestError to refuse.

export interface Metadata {
  get(name: string): string | undefined;
}

export interface CallContext {
  /** Absolute, on the node's clock; Infinity: the caller set none. */
  readonly deadline: number;
  /** Aborted when the caller is gone or the deadline passed. */
  readonly signal: AbortSignal;
  /** Request metadata by lower-case name; the first value of each (`token`, `hasleader`, …). */
  readonly metadata: Metadata;
}

/** Where a streaming handler writes. Bounded by the edge: the handler must heed `write`. */
export interface ResponseSink {
  /** Takes ownership of one response message. False: full; write no more until `drained`. */
  write(message: Uint8Array): boolean;
  /** One response message in parts, to be joined on the wire: a part may be shared with other
   * streams (one encoded event, thousands of watchers), so it is neither changed nor copied into
   * anything that outlives the turn. The answer is that of `write`. */
  writeParts(parts: readonly Uint8Array[]): boolean;
  /** Resolves when there is room again, or when the stream is over (context.signal tells). */
  drained(): Promise<void>;
}

export interface UnaryMethod {
  readonly kind: "unary";
  handle(request: Uint8Array, context: CallContext): Promise<Uint8Array>;
}

/** Server streaming and bidirectional alike; `requests` ends when the client half-closes. The
 * stream ends with OK when the promise resolves, with the refusal's status when it rejects. */
export interface StreamMethod {
  readonly kind: "stream";
  handle(
    requests: AsyncIterable<Uint8Array>,
    sink: ResponseSink,
    context: CallContext,
  ): Promise<void>;
}

export type Method = UnaryMethod | StreamMethod;

/** By full gRPC path, for example "/etcdserverpb.KV/Put". */
export type MethodTable = ReadonlyMap<string, Method>;
