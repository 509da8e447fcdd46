// Answers that carry no revision, or whose rightness none decides: refusals must be right at some
// revision that was the newest between call and return; "compacted" and reads of the past must
// agree with the compactions that had, or could have, happened by then.
import { Violation } from "../sim/violation.ts";
import type { Call, Operation, Placed } from "./operation.ts";
import { isSerializable, operationText, revisionOf } from "./operation.ts";
import type { RevisionLog } from "./revision-log.ts";
import { run } from "./sequential-model.ts";
import type { RequestOp } from "../../src/proto/etcdserverpb/kv.ts";

/** Revisions tried for one refusal; a wider window is not judged. */
const windowMax = 10_000;

export function checkRefusals(
  log: RevisionLog,
  operations: readonly Operation[],
  placed: readonly Placed[],
): Violation[] {
  const violations: Violation[] = [];
  const window = new Windows(log.revision(), placed);
  const floors = new Floors(operations);
  for (const operation of operations) {
    const { call, outcome } = operation;
    const fault =
      outcome.type === "ok"
        ? okFault(operation, floors, revisionOf(outcome.response))
        : outcome.type === "refused" && outcome.code === "compacted"
          ? compactedFault(operation, floors)
          : outcome.type === "refused" && !outcome.code.startsWith("lease")
            ? refusalFault(log, call, outcome.code, window.of(operation))
            : null;
    if (fault !== null)
      violations.push(new Violation("G2", `${fault}: ${operationText(operation)}`));
  }
  return violations;
}

function refusalFault(
  log: RevisionLog,
  call: Call,
  code: string,
  { low, high }: { low: number; high: number },
): string | null {
  if (high - low > windowMax) return null;
  for (let revision = low; revision <= high; revision++) {
    const effect = run(log.viewAt(revision), call);
    if (effect.type === "refused" && effect.code === code) return null;
  }
  return `wrong refusal at every revision from ${low} to ${high}`;
}

function okFault(operation: Operation, floors: Floors, revision: number): string | null {
  const { call, called } = operation;
  if (call.type === "compaction") {
    const target = call.request.revision;
    if (target > revision) return "a compaction of the future";
    return target <= floors.sureAt(called) ? "a compaction below the compaction" : null;
  }
  if (isSerializable(operation)) return null;
  // Of a transaction only the branch taken reads: transactions are left to the search.
  if (call.type !== "range") return null;
  return oldestAsked(call) < floors.sureAt(called) ? "a read below the compaction" : null;
}

function compactedFault({ call, returned }: Operation, floors: Floors): string | null {
  const possible = floors.possibleAt(returned);
  if (call.type === "compaction") {
    return call.request.revision > possible ? "compacted, but nobody compacted so far" : null;
  }
  return oldestAsked(call) >= possible ? "compacted, but nobody compacted so far" : null;
}

/** The oldest revision that ranges ask for, on any branch; Infinity: only the newest. */
function oldestAsked(call: Call): number {
  let oldest = Infinity;
  const note = (revision: number) => {
    if (revision > 0) oldest = Math.min(oldest, revision);
  };
  const walk = (ops: readonly RequestOp[]): void => {
    for (const { request } of ops) {
      if (request?.$case === "requestRange") note(request.value.revision);
      if (request?.$case !== "requestTxn") continue;
      walk(request.value.success);
      walk(request.value.failure);
    }
  };
  if (call.type === "range") note(call.request.revision);
  if (call.type === "txn") {
    walk(call.request.success);
    walk(call.request.failure);
  }
  return oldest;
}

/** A number that only rises, by stamp. */
class Rising {
  readonly #stamps: number[] = [];
  readonly #values: number[] = [];

  constructor(points: readonly { readonly stamp: number; readonly value: number }[]) {
    let highest = -Infinity;
    for (const { stamp, value } of points.toSorted((a, b) => a.stamp - b.stamp)) {
      highest = Math.max(highest, value);
      this.#stamps.push(stamp);
      this.#values.push(highest);
    }
  }

  /** The highest of what came before `stamp`. */
  before(stamp: number): number {
    let low = 0;
    let high = this.#stamps.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#stamps[middle] as number) < stamp) low = middle + 1;
      else high = middle;
    }
    return this.#values[low - 1] ?? -Infinity;
  }
}

/** The compact revision: what it was at least, and what it may have been. */
class Floors {
  readonly #sure: Rising;
  readonly #possible: Rising;

  constructor(operations: readonly Operation[]) {
    const sure: { stamp: number; value: number }[] = [];
    const possible: { stamp: number; value: number }[] = [];
    for (const { call, outcome, called, returned } of operations) {
      if (call.type !== "compaction" || outcome.type === "refused") continue;
      const value = call.request.revision;
      possible.push({ stamp: called, value });
      if (outcome.type === "ok") sure.push({ stamp: returned, value });
    }
    this.#sure = new Rising(sure);
    this.#possible = new Rising(possible);
  }

  sureAt(called: number): number {
    return Math.max(-1, this.#sure.before(called));
  }

  possibleAt(returned: number): number {
    return Math.max(-1, this.#possible.before(returned));
  }
}

/** The revisions that may have been the newest while a call was under way. */
class Windows {
  readonly #newest: number;
  readonly #seen: Rising;
  /** By stamps counted backwards: minus the lowest revision made by a call after it. */
  readonly #later: Rising;

  constructor(newest: number, placed: readonly Placed[]) {
    this.#newest = newest;
    const current = placed.filter(({ operation }) => !isSerializable(operation));
    this.#seen = new Rising(
      current.map(({ operation, revision }) => ({ stamp: operation.returned, value: revision })),
    );
    this.#later = new Rising(
      placed
        .filter(({ isMaker }) => isMaker)
        .map(({ operation, revision }) => ({ stamp: -operation.called, value: -revision })),
    );
  }

  of(operation: Operation): { low: number; high: number } {
    const seen = this.#seen.before(operation.called);
    const low = isSerializable(operation) ? 1 : Math.max(1, seen);
    const later = this.#later.before(-operation.returned);
    return { low, high: later === -Infinity ? this.#newest : Math.min(this.#newest, -later - 1) };
  }
}
