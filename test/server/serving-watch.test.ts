import { expect, test } from "vitest";
import type { MemberId } from "../../src/base/ids.ts";
import { ServingWatch } from "../../src/server/serving-watch.ts";
import { FakeClock } from "../sim/fake-clock.ts";

const one = "1" as MemberId;
const two = "2" as MemberId;

test("ServingWatch serves while there is a leader, counts leaders and tells of changes", async () => {
  const clock = new FakeClock();
  let leader: MemberId | null = null;
  const watch = new ServingWatch(() => leader, clock);
  watch.start();
  expect([watch.serving(), watch.leaderChanges()]).toEqual([false, 0]);
  const { signal } = new AbortController();
  const first = watch.changed(signal);
  leader = one;
  clock.advance(50);
  await first;
  leader = null;
  clock.advance(50);
  leader = one;
  clock.advance(50);
  expect([watch.serving(), watch.leaderChanges()]).toEqual([true, 1]);
  leader = two;
  clock.advance(50);
  expect(watch.leaderChanges()).toBe(2);
  const draining = watch.changed(signal);
  watch.stopServing();
  await draining;
  expect(watch.serving()).toBe(false);
  watch.stop();
  expect(clock.timerCount()).toBe(0);
});

test("ServingWatch lets go of a waiter whose caller left", async () => {
  const watch = new ServingWatch(() => null, new FakeClock());
  const abort = new AbortController();
  const waiting = watch.changed(abort.signal);
  abort.abort();
  await waiting;
  await watch.changed(abort.signal);
});
