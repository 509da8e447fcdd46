// The counters that decide whether a client is still welcome, on a clock that stands still.
import { describe, expect, test } from "vitest";
import { ArrivalWatch } from "../../src/grpc/arrival-watch.ts";
import { ConnectionLedger } from "../../src/grpc/connection-ledger.ts";
import { defaultGrpcLimits } from "../../src/grpc/limits.ts";
import { PingPolice } from "../../src/grpc/ping-police.ts";
import { RateBudget } from "../../src/grpc/rate-budget.ts";
import { FakeClock } from "../sim/fake-clock.ts";

describe("RateBudget", () => {
  test("allows a burst, then the rate, and never saves up more than the burst", () => {
    const budget = new RateBudget(3, 10, 0);
    const spent = (nowMs: number) => {
      let count = 0;
      while (budget.maybeSpend(nowMs)) count++;
      return count;
    };
    expect(spent(0)).toBe(3);
    expect(spent(99)).toBe(0);
    expect(spent(200)).toBe(2);
    expect(spent(60_000)).toBe(3);
  });
});

describe("PingPolice", () => {
  test("forgives two early pings and not the third", () => {
    const police = new PingPolice(defaultGrpcLimits);
    const answers = [0, 1, 2, 3].map((nowMs) => police.maybeAllow(nowMs, true));
    expect(answers).toEqual([true, true, true, false]);
  });

  test("never minds pings that keep the interval", () => {
    const police = new PingPolice(defaultGrpcLimits);
    for (let i = 0; i < 100; i++) expect(police.maybeAllow(i * 5_000, true)).toBe(true);
  });

  test("forgets strikes when we sent something", () => {
    const police = new PingPolice(defaultGrpcLimits);
    for (let i = 0; i < 100; i++) {
      expect(police.maybeAllow(i, true)).toBe(true);
      if (i % 2 === 1) police.forgive();
    }
  });

  test("wants two hours between pings while no call is open", () => {
    const police = new PingPolice(defaultGrpcLimits);
    const answers = [0, 10_000, 20_000, 30_000].map((nowMs) => police.maybeAllow(nowMs, false));
    expect(answers).toEqual([true, true, true, false]);
  });
});

describe("ArrivalWatch", () => {
  test("ends calls that are not whole in time, with one timer for all", () => {
    const clock = new FakeClock();
    const watch = new ArrivalWatch(clock, 1_000);
    const ended: string[] = [];
    const call = (name: string) => ({ end: () => void ended.push(`${name}@${clock.now()}`) });
    const [first, second, third] = [call("first"), call("second"), call("third")];
    watch.begin(first);
    clock.advance(400);
    watch.begin(second);
    clock.advance(400);
    watch.begin(third);
    watch.arrived(second);
    expect(clock.timerCount()).toBe(1);
    clock.advance(5_000);
    expect(ended).toEqual(["first@1000", "third@1800"]);
    expect(clock.timerCount()).toBe(0);
  });
});

describe("ConnectionLedger", () => {
  function ledgerOf(limits: Partial<typeof defaultGrpcLimits>) {
    const expelled: string[] = [];
    const ledger = new ConnectionLedger(
      new FakeClock(),
      { ...defaultGrpcLimits, ...limits },
      (reason) => expelled.push(reason),
    );
    return { ledger, expelled };
  }

  test("expels for resets beyond the burst, not for streams that end well", () => {
    const { ledger, expelled } = ledgerOf({ resetBurstMax: 2 });
    for (let i = 0; i < 50; i++) {
      ledger.opened();
      ledger.closed(false);
    }
    for (let i = 0; i < 3; i++) {
      ledger.opened();
      ledger.closed(true);
    }
    expect(expelled).toEqual(["too_many_resets"]);
  });

  test("expels for idle frames beyond the burst", () => {
    const { ledger, expelled } = ledgerOf({ idleFrameBurstMax: 1 });
    ledger.idleFrame();
    expect(expelled).toEqual([]);
    ledger.idleFrame();
    expect(expelled).toEqual(["too_many_idle_frames"]);
  });

  test("maybeAdmit makes calls wait in order while responses are unread", () => {
    const { ledger } = ledgerOf({ unreadBytesMax: 100 });
    const ran: string[] = [];
    const call = (name: string) => ({ requestBytes: 1, run: () => void ran.push(name) });
    ledger.unread(150);
    const gone = call("gone");
    for (const waiting of [call("first"), gone, call("second")]) {
      expect(ledger.maybeAdmit(waiting)).toBe(true);
    }
    expect(ledger.maybeWithdraw(gone)).toBe(true);
    expect(ran).toEqual([]);
    ledger.unread(-51);
    expect(ran).toEqual(["first"]);
    ledger.ran(0);
    expect(ran).toEqual(["first", "second"]);
    ledger.ran(0);
    ledger.maybeAdmit(call("third"));
    expect(ran).toEqual(["first", "second", "third"]);
  });

  test("maybeAdmit counts calls that run with what responses have been like", () => {
    const { ledger } = ledgerOf({ unreadBytesMax: 1_000_000 });
    let ranCount = 0;
    for (let i = 0; i < 1_000; i++) {
      ledger.maybeAdmit({ requestBytes: 1, run: () => void ranCount++ });
    }
    expect(ranCount).toBe(4);
    // Responses turn out to be small: soon all others run side by side.
    for (let i = 0; i < 20; i++) ledger.ran(10);
    expect(ranCount).toBe(1_000);
  });

  test("maybeAdmit refuses when the waiting requests hold too much", () => {
    const { ledger } = ledgerOf({ unreadBytesMax: 1, unfinishedBytesMax: 10 });
    ledger.unread(1);
    const small = { requestBytes: 6, run: () => {} };
    const next = { requestBytes: 6, run: () => {} };
    expect(ledger.maybeAdmit(small)).toBe(true);
    expect(ledger.maybeAdmit(next)).toBe(false);
    ledger.maybeWithdraw(next);
    ledger.maybeWithdraw(small);
    expect(ledger.maybeHold(10)).toBe(true);
  });
});
