// Lease calls over a connection that is only a function here: numbers, lateness, loss, bounds.
import { expect, test } from "vitest";
import { RequestError } from "../../src/base/errors.ts";
import { answerCall, LeaseCalls } from "../../src/peer/lease-calls.ts";
import { peerLimits } from "../../src/peer/peer-limits.ts";
import type { LeaseForwarding } from "../../src/peer/transport.ts";
import { Answer, Call } from "../../src/proto/keelson/peer.ts";
import { FakeClock } from "../sim/fake-clock.ts";

const keeper: LeaseForwarding = {
  renew: (IDs) => Promise.resolve(IDs.map(Number)),
  remaining: () => Promise.reject(RequestError.of("leaseNotFound")),
};

function open() {
  const clock = new FakeClock();
  const sent: Uint8Array[] = [];
  let isConnected = true;
  const calls = new LeaseCalls(clock, (call) => {
    if (isConnected) sent.push(call);
    return isConnected;
  });
  return { clock, sent, calls, disconnect: () => (isConnected = false) };
}

test("LeaseCalls.renew takes answers in any order", async () => {
  const { calls, sent } = open();
  const first = calls.renew(["1", "2"]);
  const second = calls.renew(["3"]);
  for (const call of sent.toReversed()) {
    const answer = await answerCall(call, keeper);
    if (answer !== null) calls.answered(answer);
  }
  expect(await first).toEqual([1, 2]);
  expect(await second).toEqual([3]);
});

test("LeaseCalls.remaining rejects in the other member's words", async () => {
  const { calls, sent } = open();
  const asked = calls.remaining("5");
  const answer = await answerCall(sent[0] as Uint8Array, keeper);
  calls.answered(answer as Uint8Array);
  await expect(asked).rejects.toMatchObject({
    status: 5,
    message: "etcdserver: requested lease not found",
  });
});

test("LeaseCalls.renew rejects an answer to another question", async () => {
  const { calls } = open();
  const asked = [calls.renew(["1", "2"]), calls.renew(["1"]), calls.renew(["1"])];
  const outcomes: Answer["outcome"][] = [
    { $case: "renewed", value: { TTLs: [1] } },
    { $case: "remaining", value: { TTL: 1, grantedTTL: 1 } },
    undefined,
  ];
  for (const [i, outcome] of outcomes.entries()) {
    calls.answered(Answer.encode({ number: i + 1, outcome }).finish());
  }
  for (const call of asked) await expect(call).rejects.toThrow("request timed out");
});

test("LeaseCalls rejects what is not answered in time, and drops the late answer", async () => {
  const { calls, clock, sent } = open();
  const asked = calls.renew(["1"]);
  clock.advance(peerLimits.callMs);
  await expect(asked).rejects.toThrow("connection lost");
  const answer = await answerCall(sent[0] as Uint8Array, keeper);
  calls.answered(answer as Uint8Array);
  calls.answered(Uint8Array.of(0xff));
  expect(clock.timerCount()).toBe(0);
});

test("LeaseCalls rejects at once without a connection, and when it breaks", async () => {
  const { calls, clock, disconnect } = open();
  const asked = calls.renew(["1"]);
  calls.fail();
  await expect(asked).rejects.toThrow("connection lost");
  disconnect();
  await expect(calls.renew(["1"])).rejects.toThrow("connection lost");
  expect(clock.timerCount()).toBe(0);
});

test("LeaseCalls refuses more calls than may wait", async () => {
  const { calls } = open();
  const waiting = Array.from({ length: peerLimits.callsMax }, () => calls.renew(["1"]));
  await expect(calls.renew(["1"])).rejects.toThrow("too many requests");
  calls.fail();
  for (const call of waiting) await expect(call).rejects.toThrow(RequestError);
});

test("answerCall gives nothing for what is no call", async () => {
  expect(await answerCall(Uint8Array.of(0xff), keeper)).toBeNull();
  expect(
    await answerCall(Call.encode({ number: 1, request: undefined }).finish(), keeper),
  ).toBeNull();
});
