// What the gRPC edge counts, for the metrics room: by path, which is always one of the method
// table, so that labels stay few. Calls of unknown methods are not counted.
import type { GrpcStatus } from "../base/errors.ts";

export interface GrpcCallObserver {
  started(path: string): void;
  /** One request message, of this many bytes without the frame. */
  received(path: string, messageBytes: number): void;
  sent(path: string, messageBytes: number): void;
  /** Once for every started call; a call that the client left ends as canceled. */
  finished(path: string, status: GrpcStatus): void;
}

export const silentObserver: GrpcCallObserver = {
  started() {},
  received() {},
  sent() {},
  finished() {},
};
