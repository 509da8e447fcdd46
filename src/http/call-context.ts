// What a handler is told of an HTTP request: its deadline, whether the caller is still there, and
// the metadata that HTTP headers stand for.
import type { IncomingHttpHeaders, ServerResponse } from "node:http";
import type { CallContext } from "../api/method.ts";
import type { Clock } from "../base/clock.ts";
import { RequestError, grpcStatus } from "../base/errors.ts";

const timeoutUnitMs: ReadonlyMap<string, number> = new Map([
  ["H", 3_600_000],
  ["M", 60_000],
  ["S", 1000],
  ["m", 1],
  ["u", 1e-3],
  ["n", 1e-6],
]);

/** Milliseconds of a `Grpc-Timeout` header such as "5S". */
export function parseGrpcTimeout(text: string): number {
  const match = /^(\d{1,8})([HMSmun])$/.exec(text);
  const unitMs = timeoutUnitMs.get(match?.[2] ?? "");
  if (match === null || unitMs === undefined) {
    throw RequestError.worded(grpcStatus.invalidArgument, `invalid grpc-timeout: ${text}`);
  }
  return Number(match[1]) * unitMs;
}

/** `Authorization` is the token, as etcd takes it; `Grpc-Metadata-X` is metadata x. */
export function metadataOf(headers: IncomingHttpHeaders): Map<string, string> {
  const metadata = new Map<string, string>();
  for (const [name, value] of Object.entries(headers)) {
    if (typeof value !== "string") continue;
    if (name.startsWith("grpc-metadata-")) metadata.set(name.slice("grpc-metadata-".length), value);
    if (name === "authorization") metadata.set("token", value.replace(/^Bearer +/i, ""));
  }
  return metadata;
}

/** A call's context, and the way to end it. */
export interface OpenCall {
  readonly context: CallContext;
  close(): void;
}

export function openCall(
  headers: IncomingHttpHeaders,
  response: ServerResponse,
  clock: Clock,
): OpenCall {
  const abort = new AbortController();
  const timeout = headers["grpc-timeout"];
  const timeoutMs = typeof timeout === "string" ? parseGrpcTimeout(timeout) : Infinity;
  const timer =
    timeoutMs === Infinity ? undefined : clock.after(timeoutMs, () => abort.abort("deadline"));
  const onClose = () => abort.abort("gone");
  response.once("close", onClose);
  return {
    context: {
      deadline: clock.now() + timeoutMs,
      signal: abort.signal,
      metadata: metadataOf(headers),
    },
    close() {
      timer?.cancel();
      response.off("close", onClose);
    },
  };
}
