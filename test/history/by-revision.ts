// The fast check of a history against the committed log, nearly linear (reliability 3.6.3): every
// answer names its revision, so that its place among all others is known and nothing is searched.
//
// 1. What an answer says must be what the model says at its revision: writes run on the state
//    before it and make exactly what the log has there; all others run on the state at it.
// 2. Every revision of the log has one maker: an answered write, or one of unknown outcome, used
//    once, or leases that ended.
// 3. Whoever was called after another had returned has no lower revision, and a higher one when it
//    wrote. Serializable reads may be old, but never see what was not yet asked for.
// 4. Refusals and compactions have no revision: they must be right somewhere in their window.
//
// It believes the log and the revisions; the search (search.ts) believes neither.
// Leases are judged by lease-check.ts: here every lease named exists.
import type { Answer, History, Operation, Placed } from "./operation.ts";
import { decided, isSerializable, operationText, revisionOf } from "./operation.ts";
import { RevisionLog } from "./revision-log.ts";
import { makes, run, sameAnswer } from "./sequential-model.ts";
import type { Effect } from "./sequential-model.ts";
import { matchMakers } from "./revision-makers.ts";
import { checkRefusals } from "./refusals.ts";
import { Violation } from "../sim/violation.ts";

/** Reports stop here: after the first few, one fault explains many. */
const violationsMax = 100;

export function checkByRevision(history: History): Violation[] {
  const log = new RevisionLog(history.log);
  const violations = [...log.faults];
  if (violations.length > 0) return violations;
  const operations = history.operations.map(decided).filter((one) => one !== null);
  const placed: Placed[] = [];
  const makers = new Map<number, Operation>();
  for (const operation of operations) {
    if (violations.length >= violationsMax) return violations;
    if (operation.outcome.type !== "ok") continue;
    const found = place(log, operation, operation.outcome.response);
    if (found instanceof Violation) {
      violations.push(found);
      continue;
    }
    placed.push(found);
    if (!found.isMaker) continue;
    const other = makers.get(found.revision);
    if (other !== undefined) violations.push(twice(found, other));
    makers.set(found.revision, operation);
  }
  const matched = matchMakers(log, operations, placed);
  placed.push(...matched.placed);
  violations.push(...matched.violations);
  violations.push(...checkOrder(placed));
  violations.push(...checkRefusals(log, operations, placed));
  return violations.slice(0, violationsMax);
}

function twice({ operation, revision }: Placed, other: Operation): Violation {
  const both = `${operationText(other)} and ${operationText(operation)}`;
  return new Violation("I27", `revision ${revision} was given to two writes: ${both}`);
}

function place(log: RevisionLog, operation: Operation, response: Answer): Placed | Violation {
  const revision = revisionOf(response);
  const { type } = operation.call;
  const shown = () => operationText(operation);
  if (revision > log.revision()) {
    const [rule, what] = isWrite(operation) ? ["G1", "lost write"] : ["G2", "future read"];
    return new Violation(rule, `${what}: the log ends at ${log.revision()}: ${shown()}`);
  }
  if (revision < 1) return new Violation("I27", `wrong revision: ${shown()}`);
  // Grants and compactions never write. Judged where leases and compactions are.
  if (type === "leaseGrant" || type === "compaction") {
    return { operation, revision, isMaker: false };
  }
  const after = run(log.viewAt(revision), operation.call);
  if (isWrite(operation) && revision > 1) {
    const before = run(log.viewAt(revision - 1), operation.call);
    if (makes(before, log.changesAt(revision)) && answers(before, response)) {
      return { operation, revision, isMaker: true };
    }
    if (!isIdle(after)) {
      return new Violation("G1", `lost write: revision ${revision} is another's: ${shown()}`);
    }
  }
  // A revoke of an ended lease is refused, which the model here cannot know.
  if (isIdle(after) && answers(after, response)) return { operation, revision, isMaker: false };
  return new Violation("G2", `wrong answer for revision ${revision}: ${shown()}`);
}

function isWrite({ call }: Operation): boolean {
  return call.type !== "range" && call.type !== "compaction" && call.type !== "leaseGrant";
}

function isIdle(effect: Effect): boolean {
  return effect.type === "done" && effect.changes.length === 0;
}

function answers(effect: Effect, response: Answer): boolean {
  return effect.type === "done" && sameAnswer(effect.response, response);
}

/** One sweep: calls in order, and before each what had returned by then. */
function checkOrder(placed: readonly Placed[]): Violation[] {
  const violations: Violation[] = [];
  const calls = placed.toSorted((a, b) => a.operation.called - b.operation.called);
  const returns = placed.toSorted((a, b) => a.operation.returned - b.operation.returned);
  // The highest that anybody saw, and that a linearizable call saw, before the call at hand.
  let seen: Placed | null = null;
  let current: Placed | null = null;
  let i = 0;
  for (const one of calls) {
    for (; i < returns.length; i++) {
      const earlier = returns[i] as Placed;
      if (earlier.operation.returned >= one.operation.called) break;
      if (seen === null || earlier.revision > seen.revision) seen = earlier;
      if (isSerializable(earlier.operation)) continue;
      if (current === null || earlier.revision > current.revision) current = earlier;
    }
    if (one.isMaker && seen !== null && one.revision <= seen.revision) {
      violations.push(
        seen.isMaker ? disorder("reordered", seen, one) : disorder("future read", seen, one),
      );
    } else if (
      !isSerializable(one.operation) &&
      current !== null &&
      one.revision < current.revision
    ) {
      violations.push(disorder("stale read", current, one));
    }
    if (violations.length >= violationsMax) break;
  }
  return violations;
}

function disorder(anomaly: string, earlier: Placed, later: Placed): Violation {
  const [first, second] = [earlier, later].map(
    ({ operation, revision }) => `${operationText(operation)} at ${revision}`,
  );
  return new Violation("G2", `${anomaly}: ${first} had returned before ${second} was called`);
}
