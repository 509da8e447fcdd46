// What the edges, gRPC and JSON, count of calls, for the metrics room: by path, which is always one
// of the method table, so that labels stay few. Calls of unknown methods are not counted. Calls that
// come as JSON are counted as the gRPC calls that they stand for, as etcd does, whose gateway is a
// client of its own gRPC server.
import type { GrpcStatus } from "../base/errors.ts";

export interface CallObserver {
  started(path: string): void;
  /** One request message, of this many bytes without its frame. */
  received(path: string, messageBytes: number): void;
  sent(path: string, messageBytes: number): void;
  /** Once for every started call; a call that the client left ends as canceled. */
  finished(path: string, status: GrpcStatus): void;
}
