// Assertions stay on in production. A failed one is a bug or a broken machine: nobody catches it,
// the process exits, the supervisor restarts it, and the log on disk decides what is true.

/** A broken invariant. Never caught, never mapped to a reply. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/** Throws AssertionError with `message` unless `condition` holds. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** Asserts that a counter (term, index, revision) is an integer that JavaScript holds exactly. */
export function assertCounter(value: number, name: string): void {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new AssertionError(`${name} is not a safe non-negative integer: ${value}`);
  }
}

/** For the end of an exhaustive switch: reaching it is a bug. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${String(value)}`);
}
