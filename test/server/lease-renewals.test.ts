// Renewals that share calls: how they gather, what bounds them, whose answer is whose.
import { beforeEach, describe, expect, test } from "vitest";
import { RequestError } from "../../src/base/errors.ts";
import type { LeaseId } from "../../src/base/ids.ts";
import { LeaseRenewals } from "../../src/server/lease-renewals.ts";
import { FakeClock } from "../sim/fake-clock.ts";
import { options } from "./small-raft.ts";

interface Call {
  readonly leases: readonly string[];
  readonly answer: (ttls: number[]) => void;
  readonly fail: (error: RequestError) => void;
}

const clock = new FakeClock();
let calls: Call[];
let renewals: LeaseRenewals;

beforeEach(() => {
  calls = [];
  renewals = new LeaseRenewals(
    {
      clock,
      leader: {
        renew: (leases) =>
          new Promise((answer, fail) => {
            calls.push({ leases, answer, fail });
          }),
      },
    },
    { ...options, leaseRenewalsPerCall: 3, leaseRenewalCallsMax: 2 },
  );
});

function renew(...ids: number[]): Promise<number>[] {
  return ids.map((id) => renewals.renew(String(id) as LeaseId));
}

function asked(): string[] {
  return calls.map(({ leases }) => leases.join(" "));
}

describe("lease renewals", () => {
  test("renew shares one call with what comes in the same turn, and keeps its own answer", async () => {
    const ttls = renew(1, 2, 3);
    expect(asked()).toEqual([]);
    clock.settle();
    expect(asked()).toEqual(["1 2 3"]);
    calls[0]?.answer([60, 0, -1]);
    expect(await Promise.all(ttls)).toEqual([60, 0, -1]);
  });

  test("renew waits while the allowed calls are under way, and then goes with all that waits", async () => {
    const first = renew(1, 2, 3, 4);
    clock.settle();
    const later = renew(5, 6);
    clock.settle();
    expect(asked()).toEqual(["1 2 3", "4"]);
    calls[1]?.answer([40]);
    expect(await first[3]).toBe(40);
    clock.settle();
    expect(asked()).toEqual(["1 2 3", "4", "5 6"]);
    calls[2]?.answer([50, 60]);
    expect(await Promise.all(later)).toEqual([50, 60]);
  });

  test("stop gives back what was not sent, to be asked of another leader", async () => {
    const sent = renew(1, 2, 3, 4);
    clock.settle();
    const gathered = renew(5)[0] as Promise<number>;
    renewals.stop();
    await expect(gathered).rejects.toThrow("etcdserver: leader changed");
    for (const { leases, answer } of calls) answer(leases.map(() => 7));
    expect(await Promise.all(sent)).toEqual([7, 7, 7, 7]);
    clock.settle();
    expect(calls).toHaveLength(2);
  });

  test("an error of the call is every caller's, and frees the call", async () => {
    const ends = Promise.allSettled(renew(1, 2, 3, 4));
    clock.settle();
    const next = renew(5);
    for (const { fail } of calls) fail(RequestError.of("notPrimaryLessor"));
    for (const end of await ends) {
      expect(end).toMatchObject({
        status: "rejected",
        reason: { message: "not a primary lessor" },
      });
    }
    clock.settle();
    expect(asked().at(-1)).toBe("5");
    calls.at(-1)?.answer([9]);
    expect(await Promise.all(next)).toEqual([9]);
  });
});
