// The lease check accepts a life as it should be, and names every way in which a lease can end too
// early, too late, or leave its keys behind.
import { describe, expect, test } from "vitest";
import type { RevisionEvents } from "../../src/state/outcome.ts";
import { checkLeases } from "./lease-check.ts";
import type { LeaseEnd, LeaseHistory, LeaseRenewal } from "./lease-check.ts";
import { put, SingleCopy } from "./stories.ts";

function granted(calledMs: number, more: Partial<LeaseRenewal> = {}): LeaseRenewal {
  const returnedMs = calledMs + 10;
  const ttl = { type: "grant", lease: "7", ttlSeconds: 2, revision: 1 } as const;
  return { ...ttl, calledMs, returnedMs, ...more };
}

const kept = (calledMs: number): LeaseRenewal =>
  granted(calledMs, { type: "keepAlive", revision: 0 });

function expired(atMs: number, more: Partial<LeaseEnd> = {}): LeaseEnd {
  const end = {
    lease: "7",
    cause: "expiry",
    proposedMs: null,
    revision: 3,
    isMaker: true,
  } as const;
  return { ...end, atMs, ...more };
}

/** "a" is put with lease 7 at 2, which ends at 3 and takes the key along. */
function lifeOf(key = "a"): { copy: SingleCopy; log: readonly RevisionEvents[] } {
  const copy = new SingleCopy();
  copy.apply({ type: "leaseGrant", request: { ID: "7", TTL: 2 } });
  attach(copy, key);
  copy.apply({ type: "leaseExpire", request: { IDs: ["7"] } });
  return { copy, log: copy.log };
}

function attach(copy: SingleCopy, key: string): void {
  const call = put(key, "leased");
  if (call.type === "put") copy.apply({ ...call, request: { ...call.request, lease: "7" } });
}

function found(given: Partial<LeaseHistory>): string {
  const { log } = lifeOf();
  const none = { renewals: [], ends: [], log, driftMax: 0, lateness: null };
  const violations = checkLeases({ ...none, ...given });
  return violations.map(({ message }) => message).join("\n");
}

describe("checkLeases accepts", () => {
  test("an expiry at its TTL after the last renewal, and keys that go with it", () => {
    expect(found({ renewals: [granted(0), kept(1000)], ends: [expired(3000)] })).toBe("");
    expect(found({ renewals: [granted(0)], ends: [expired(1990)], driftMax: 0.01 })).toBe("");
  });

  test("a revoke at any time, and a renewal whose answer came after the end", () => {
    const late = { ...kept(1900), returnedMs: 2500 };
    expect(found({ renewals: [granted(0)], ends: [expired(5, { cause: "revoke" })] })).toBe("");
    expect(found({ renewals: [granted(0), late], ends: [expired(2000)] })).toBe("");
  });

  test("the same id granted anew, with keys and renewals", () => {
    const { copy } = lifeOf();
    copy.apply({ type: "leaseGrant", request: { ID: "7", TTL: 2 } });
    attach(copy, "b");
    const renewals = [granted(0), granted(3000, { revision: 3 }), kept(4000)];
    expect(found({ renewals, ends: [expired(2500)], log: copy.log })).toBe("");
  });
});

describe("checkLeases finds", () => {
  test("an early expiry, by one millisecond and beyond the drift", () => {
    expect(found({ renewals: [granted(0)], ends: [expired(1999)] })).toMatch(/^I44: .*early/);
    expect(found({ renewals: [granted(0), kept(1000)], ends: [expired(2500)] })).toMatch(/early/);
    const drifting = { renewals: [granted(0)], ends: [expired(1950)], driftMax: 0.01 };
    expect(found(drifting)).toMatch(/early/);
  });

  test("an expiry of a lease that was renewed since it was proposed", () => {
    const ends = [expired(2600, { proposedMs: 2100 })];
    expect(found({ renewals: [granted(0), kept(2200)], ends })).toMatch(/^I43: .*being expired/);
  });

  test("a renewal of a lease that is gone", () => {
    expect(found({ renewals: [granted(0), kept(2600)], ends: [expired(2500)] })).toMatch(
      /^I43: .*renewed at 2600/,
    );
  });

  test("a lease that lives on after its time", () => {
    const lateness = { endMs: 9000, lateMsMax: 2000 };
    expect(found({ renewals: [granted(0)], lateness })).toMatch(/^I44: .*late/);
    expect(found({ renewals: [granted(0), kept(5000)], lateness })).toBe("");
  });

  test("a key that survives its lease, whether the end wrote or not", () => {
    const { log } = lifeOf();
    const [first] = log;
    if (first === undefined) throw new Error("no log");
    const other = new SingleCopy();
    other.apply(put("x", "1"));
    other.apply(put("b", "2"));
    const [, second] = other.log;
    if (second === undefined) throw new Error("no log");
    const idle = expired(2500, { revision: 2, isMaker: false });
    expect(found({ renewals: [granted(0)], ends: [idle], log: [first] })).toMatch(
      /^I42: .*a survives at revision 2/,
    );
    const ends = [expired(2500)];
    const survived = found({ renewals: [granted(0)], ends, log: [first, second] });
    expect(survived).toMatch(/a survives at revision 3/);
    expect(survived).toMatch(/took b along/);
  });

  test("a key that dies of another's lease", () => {
    const { log } = lifeOf();
    const ends = [expired(9000, { lease: "8" })];
    expect(found({ renewals: [granted(0)], ends, log })).toMatch(/^I42: lease 8: .*took a along/);
  });

  test("a key put with a lease that had ended", () => {
    const { copy } = lifeOf();
    copy.apply({ type: "leaseGrant", request: { ID: "7", TTL: 2 } });
    attach(copy, "b");
    expect(found({ renewals: [granted(0)], ends: [expired(2500)], log: copy.log })).toMatch(
      /^I42: .*b got it at 4, after its end/,
    );
  });
});
