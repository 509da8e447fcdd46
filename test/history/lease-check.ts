// Leases of a whole run, judged by what clients were told and by what the log did (I42 to I44): no
// key survives its lease, none dies of another's, no lease ends before its time, none is renewed
// once it is gone, and on demand none lives on long after its time.
//
// Times are milliseconds of the harness's own clock, the only clock that is right. A lease that was
// acknowledged as renewed lives at least its TTL from the moment the renewal was called: the leader
// renewed it then or later. A member whose clock runs fast by up to `driftMax` may end it sooner.
import type { Event } from "../../src/proto/mvccpb/kv.ts";
import type { RevisionEvents } from "../../src/state/outcome.ts";
import { Violation } from "../sim/violation.ts";
import { keyText } from "./sequential-model.ts";

/** A call that was answered with a living lease; others say nothing. */
export interface LeaseRenewal {
  readonly type: "grant" | "keepAlive";
  readonly lease: string;
  readonly ttlSeconds: number;
  readonly calledMs: number;
  readonly returnedMs: number;
  /** Of a grant: the header's. 0 of a keepalive. */
  readonly revision: number;
}

/** A revoke or an expiry in the log. */
export interface LeaseEnd {
  readonly lease: string;
  readonly cause: "revoke" | "expiry";
  /** When the first member applied it. */
  readonly atMs: number;
  /** When the leader proposed it; null: not known. */
  readonly proposedMs: number | null;
  /** The store's after it. */
  readonly revision: number;
  /** It deleted keys, and so made this revision. */
  readonly isMaker: boolean;
}

export interface LeaseHistory {
  readonly renewals: readonly LeaseRenewal[];
  /** In log order. */
  readonly ends: readonly LeaseEnd[];
  /** Every revision, 2 first, without gaps. */
  readonly log: readonly RevisionEvents[];
  /** 0.01: clocks may run one percent fast. */
  readonly driftMax: number;
  /** When the record ended, and how late an expiry may be then; null: lateness is not judged. */
  readonly lateness: { readonly endMs: number; readonly lateMsMax: number } | null;
}

export function checkLeases(history: LeaseHistory): Violation[] {
  const check = new LeaseCheck(history);
  return [...check.times(), ...check.keys()];
}

class LeaseCheck {
  readonly #history: LeaseHistory;
  readonly #renewals = new Map<string, LeaseRenewal[]>();
  readonly #ends = new Map<string, LeaseEnd[]>();

  constructor(history: LeaseHistory) {
    this.#history = history;
    for (const renewal of history.renewals) file(this.#renewals, renewal.lease, renewal);
    for (const end of history.ends) file(this.#ends, end.lease, end);
  }

  times(): Violation[] {
    const violations: Violation[] = [];
    for (const end of this.#history.ends) {
      const renewals = this.#renewals.get(end.lease) ?? [];
      if (end.cause === "expiry") violations.push(...this.#early(end, renewals));
      violations.push(...afterEnd(end, renewals));
    }
    const { lateness } = this.#history;
    if (lateness === null) return violations;
    for (const [lease, renewals] of this.#renewals) {
      const last = Math.max(...renewals.map((one) => one.returnedMs + one.ttlSeconds * 1000));
      const lastCall = Math.max(...renewals.map(({ calledMs }) => calledMs));
      const isEnded = (this.#ends.get(lease) ?? []).some(({ atMs }) => atMs >= lastCall);
      if (isEnded || last + lateness.lateMsMax >= lateness.endMs) continue;
      violations.push(violation("I44", `late: still alive at ${lateness.endMs} ms`, lease));
    }
    return violations;
  }

  #early(end: LeaseEnd, renewals: readonly LeaseRenewal[]): Violation[] {
    const { driftMax } = this.#history;
    const violations: Violation[] = [];
    for (const { ttlSeconds, calledMs, returnedMs, type } of renewals) {
      if (returnedMs > end.atMs) continue;
      if (calledMs + (ttlSeconds * 1000) / (1 + driftMax) <= end.atMs) continue;
      const isAnswered = end.proposedMs !== null && calledMs >= end.proposedMs;
      const what = `expired at ${end.atMs} ms, ${type} of ${ttlSeconds} s called at ${calledMs} ms`;
      violations.push(
        isAnswered
          ? violation("I43", `renewed while it was being expired: ${what}`, end.lease)
          : violation("I44", `early: ${what}`, end.lease),
      );
    }
    return violations;
  }

  /** Replays the log: who holds which lease, and when leases end. */
  keys(): Violation[] {
    const violations: Violation[] = [];
    const leaseOf = new Map<string, string>();
    const keysOf = new Map<string, Set<string>>();
    const makers = new Map<number, LeaseEnd[]>();
    const idle = new Map<number, LeaseEnd[]>();
    for (const end of this.#history.ends) file(end.isMaker ? makers : idle, end.revision, end);
    for (const { revision, events } of [{ revision: 1, events: [] }, ...this.#history.log]) {
      const ending = makers.get(revision) ?? [];
      violations.push(...foreign(ending, events, leaseOf));
      for (const event of events) this.#follow(event, leaseOf, keysOf, violations);
      for (const { lease } of [...ending, ...(idle.get(revision) ?? [])]) {
        for (const key of keysOf.get(lease) ?? []) {
          violations.push(violation("I42", `${key} survives at revision ${revision}`, lease));
        }
      }
    }
    return violations;
  }

  #follow(
    { type, kv }: Event,
    leaseOf: Map<string, string>,
    keysOf: Map<string, Set<string>>,
    violations: Violation[],
  ): void {
    if (kv === undefined) return;
    const key = keyText(kv.key);
    const before = leaseOf.get(key);
    if (before !== undefined) keysOf.get(before)?.delete(key);
    leaseOf.delete(key);
    if (type !== 0 || kv.lease === "0") return;
    leaseOf.set(key, kv.lease);
    const keys = keysOf.get(kv.lease);
    if (keys === undefined) keysOf.set(kv.lease, new Set([key]));
    else keys.add(key);
    if (this.#isDead(kv.lease, kv.modRevision)) {
      violations.push(
        violation("I42", `${key} got it at ${kv.modRevision}, after its end`, kv.lease),
      );
    }
  }

  /** Ended before this revision, and not granted again since. */
  #isDead(lease: string, revision: number): boolean {
    let ended = -1;
    for (const end of this.#ends.get(lease) ?? []) {
      if (end.revision < revision) ended = Math.max(ended, end.revision);
    }
    if (ended < 0) return false;
    const grants = (this.#renewals.get(lease) ?? []).filter(({ type }) => type === "grant");
    return !grants.some((grant) => grant.revision >= ended && grant.revision < revision);
  }
}

/** What a lease's end deletes was the lease's. */
function foreign(
  ending: readonly LeaseEnd[],
  events: readonly Event[],
  leaseOf: ReadonlyMap<string, string>,
): Violation[] {
  const [first] = ending;
  if (first === undefined) return [];
  const leases = new Set(ending.map(({ lease }) => lease));
  const strangers = events.filter(({ type, kv }) => {
    const lease = kv === undefined ? undefined : leaseOf.get(keyText(kv.key));
    return type === 0 || lease === undefined || !leases.has(lease);
  });
  return strangers.map(({ kv }) => {
    const key = kv === undefined ? "?" : keyText(kv.key);
    return violation("I42", `its end at ${first.revision} took ${key} along`, first.lease);
  });
}

/** Gone is gone: a renewal called after the end is answered with TTL 0, unless granted anew. */
function afterEnd(end: LeaseEnd, renewals: readonly LeaseRenewal[]): Violation[] {
  const grants = renewals.filter(({ type, returnedMs }) => {
    return type === "grant" && returnedMs >= end.atMs;
  });
  return renewals
    .filter(({ type, calledMs }) => type === "keepAlive" && calledMs > end.atMs)
    .filter((renewal) => !grants.some((grant) => grant.calledMs <= renewal.returnedMs))
    .map(({ calledMs }) => {
      return violation("I43", `renewed at ${calledMs} ms, gone since ${end.atMs} ms`, end.lease);
    });
}

function violation(rule: string, what: string, lease: string): Violation {
  return new Violation(rule, `lease ${lease}: ${what}`);
}

function file<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const values = map.get(key);
  if (values === undefined) map.set(key, [value]);
  else values.push(value);
}
