// Counts of calls by method, as an adapter reports them. Plain numbers, because they are touched
// several times a call; metrics.ts copies them out when somebody scrapes. Paths come from the
// method table, so the map is bounded.
import type { GrpcStatus } from "../base/errors.ts";

export interface MethodCounts {
  started: number;
  received: number;
  sent: number;
  /** By status number. */
  readonly handled: Map<GrpcStatus, number>;
}

export class CallCounts {
  readonly #byPath = new Map<string, MethodCounts>();
  #receivedBytes = 0;
  #sentBytes = 0;

  started(path: string): void {
    this.#of(path).started++;
  }

  received(path: string, messageBytes: number): void {
    this.#of(path).received++;
    this.#receivedBytes += messageBytes;
  }

  sent(path: string, messageBytes: number): void {
    this.#of(path).sent++;
    this.#sentBytes += messageBytes;
  }

  finished(path: string, status: GrpcStatus): void {
    const { handled } = this.#of(path);
    handled.set(status, (handled.get(status) ?? 0) + 1);
  }

  byPath(): ReadonlyMap<string, MethodCounts> {
    return this.#byPath;
  }

  receivedBytes(): number {
    return this.#receivedBytes;
  }

  sentBytes(): number {
    return this.#sentBytes;
  }

  #of(path: string): MethodCounts {
    let counts = this.#byPath.get(path);
    if (counts === undefined) {
      counts = { started: 0, received: 0, sent: 0, handled: new Map() };
      this.#byPath.set(path, counts);
    }
    return counts;
  }
}
