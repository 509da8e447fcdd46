// Request bodies as JSON texts: one for a unary call, as many as come for a stream. Bounded in
// bytes while they come in, and in time until the first text is there: after that a stream's body
// may stay open for as long as its client lives.
import type { IncomingMessage } from "node:http";
import type { Clock } from "../base/clock.ts";
import { RequestError, grpcStatus } from "../base/errors.ts";
import type { JsonTextLimits } from "./json-text.ts";
import { JsonTextSplitter } from "./json-text.ts";

export interface BodyLimits extends JsonTextLimits {
  /** Until the first text is complete. */
  readonly firstTextMs: number;
}

/** For requests of so many bytes. JSON has them in base64, four characters for three bytes; beside
 * them it may hold half a megabyte, as a gRPC message may. */
export function bodyLimitsFor(requestBytesMax: number): BodyLimits {
  const bytesMax = Math.ceil((requestBytesMax * 4) / 3) + 512 * 1024;
  return { bytesMax, depthMax: 512, firstTextMs: 30_000 };
}

/** The texts of a body, as they complete. */
export async function* bodyTexts(
  request: IncomingMessage,
  limits: BodyLimits,
  clock: Clock,
): AsyncGenerator<string, void, undefined> {
  const splitter = new JsonTextSplitter(limits);
  const late = RequestError.worded(grpcStatus.deadlineExceeded, "json: the body came too slowly");
  const timer = clock.after(limits.firstTextMs, () => request.destroy(late));
  try {
    // Not destroyed when a text is refused: the refusal still has to leave on the same socket.
    for await (const chunk of request.iterator({ destroyOnReturn: false })) {
      for (const text of splitter.push(chunk as Uint8Array)) {
        timer.cancel();
        yield text;
      }
    }
    splitter.end();
  } finally {
    timer.cancel();
  }
}

/** The one text of a unary call; an empty body means an empty message. */
export async function bodyText(
  request: IncomingMessage,
  limits: BodyLimits,
  clock: Clock,
): Promise<string> {
  let only: string | undefined;
  for await (const text of bodyTexts(request, limits, clock)) {
    if (only !== undefined) {
      throw RequestError.worded(grpcStatus.invalidArgument, "json: more than one message");
    }
    only = text;
  }
  return only ?? "{}";
}
