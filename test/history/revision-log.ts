// The committed log as a store that never forgets: every version of every key, looked up by key
// and revision in a binary search. Views of it are what calls are replayed on.
import type { KeyValue } from "../../src/proto/mvccpb/kv.ts";
import type { RevisionEvents } from "../../src/state/outcome.ts";
import type { Change, View } from "./sequential-model.ts";
import { keyText } from "./sequential-model.ts";
import { Violation } from "../sim/violation.ts";

interface Versions {
  readonly revisions: number[];
  /** Null: deleted then. */
  readonly pairs: (KeyValue | null)[];
}

export class RevisionLog {
  readonly #changes: Change[][] = [];
  readonly #versions = new Map<string, Versions>();
  readonly #keys: string[];
  /** The log's own faults: gaps, counters that do not follow (I27). */
  readonly faults: Violation[] = [];

  constructor(log: readonly RevisionEvents[]) {
    for (const { revision, events } of log) {
      if (revision !== this.revision() + 1 || events.length === 0) {
        this.faults.push(new Violation("I27", `the log has ${revision} after ${this.revision()}`));
        break;
      }
      const changes: Change[] = [];
      for (const { type, kv } of events) {
        if (kv !== undefined) changes.push({ key: keyText(kv.key), pair: type === 0 ? kv : null });
      }
      this.#check(revision, changes);
      this.#changes.push(changes);
      for (const { key, pair } of changes) this.#add(revision, key, pair);
    }
    this.#keys = [...this.#versions.keys()].sort();
  }

  /** The newest. */
  revision(): number {
    return this.#changes.length + 1;
  }

  changesAt(revision: number): readonly Change[] {
    return this.#changes[revision - 2] ?? [];
  }

  find(key: string, revision: number): KeyValue | undefined {
    const versions = this.#versions.get(key);
    if (versions === undefined) return undefined;
    const at = countUpTo(versions.revisions, revision) - 1;
    return versions.pairs[at] ?? undefined;
  }

  pairs(first: string, end: string | undefined, revision: number): KeyValue[] {
    const found: KeyValue[] = [];
    for (let i = lowerBound(this.#keys, first); i < this.#keys.length; i++) {
      const key = this.#keys[i] as string;
      if (end !== undefined && key >= end) break;
      const pair = this.find(key, revision);
      if (pair !== undefined) found.push(pair);
    }
    return found;
  }

  viewAt(revision: number): View {
    return {
      revision,
      // Compactions and leases have no revision of their own: they are judged by stamps.
      compactRevision: -1,
      find: (key) => this.find(key, revision),
      pairs: (first, end) => this.pairs(first, end, revision),
      at: (older) => this.viewAt(older),
      hasLease: () => true,
    };
  }

  #check(revision: number, changes: readonly Change[]): void {
    const seen = new Set<string>();
    for (const { key, pair } of changes) {
      const before = this.find(key, revision - 1);
      const follows =
        pair === null
          ? before !== undefined
          : pair.modRevision === revision &&
            pair.version === (before?.version ?? 0) + 1 &&
            pair.createRevision === (before?.createRevision ?? revision);
      if (follows && !seen.has(key)) seen.add(key);
      else this.faults.push(new Violation("I27", `${key} at ${revision} does not follow its past`));
    }
  }

  #add(revision: number, key: string, pair: KeyValue | null): void {
    let versions = this.#versions.get(key);
    if (versions === undefined) {
      versions = { revisions: [], pairs: [] };
      this.#versions.set(key, versions);
    }
    versions.revisions.push(revision);
    versions.pairs.push(pair);
  }
}

/** How many of these ascending numbers are at most `most`. */
function countUpTo(numbers: readonly number[], most: number): number {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((numbers[middle] as number) <= most) low = middle + 1;
    else high = middle;
  }
  return low;
}

function lowerBound(keys: readonly string[], first: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((keys[middle] as string) < first) low = middle + 1;
    else high = middle;
  }
  return low;
}
