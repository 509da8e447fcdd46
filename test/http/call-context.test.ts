import { IncomingMessage, ServerResponse } from "node:http";
import { Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { metadataOf, openCall, parseGrpcTimeout } from "../../src/http/call-context.ts";
import { FakeClock } from "../sim/fake-clock.ts";

const response = () => new ServerResponse(new IncomingMessage(new Socket()));

describe("parseGrpcTimeout", () => {
  for (const [text, ms] of [
    ["1H", 3_600_000],
    ["2M", 120_000],
    ["5S", 5000],
    ["100m", 100],
    ["500u", 0.5],
    ["1000000n", 1],
  ] as const) {
    test(`reads ${text}`, () => expect(parseGrpcTimeout(text)).toBe(ms));
  }
  for (const text of ["", "5", "S", "-1S", "1.5S", "123456789S", "5s"]) {
    test(`refuses "${text}"`, () => {
      expect(() => parseGrpcTimeout(text)).toThrow("invalid grpc-timeout");
    });
  }
});

test("metadataOf takes the token and prefixed headers, and nothing else", () => {
  const headers = {
    authorization: "bearer  t",
    "grpc-metadata-hasleader": "true",
    cookie: "x",
    "set-cookie": ["a"],
  };
  expect(metadataOf(headers)).toEqual(
    new Map([
      ["token", "t"],
      ["hasleader", "true"],
    ]),
  );
});

describe("openCall", () => {
  test("aborts at its deadline", () => {
    const clock = new FakeClock(100);
    const { context } = openCall({ "grpc-timeout": "2S" }, response(), clock);
    expect(context.deadline).toBe(2100);
    clock.advance(1999);
    expect(context.signal.aborted).toBe(false);
    clock.advance(1);
    expect(context.signal.aborted).toBe(true);
  });

  test("aborts when the connection closes, and lets go of all when the call is over", () => {
    const clock = new FakeClock();
    const gone = response();
    const call = openCall({}, gone, clock);
    gone.emit("close");
    expect(call.context.signal.aborted).toBe(true);
    const kept = response();
    const listeners = kept.listenerCount("close");
    const over = openCall({ "grpc-timeout": "1S" }, kept, clock);
    over.close();
    expect([clock.timerCount(), kept.listenerCount("close")]).toEqual([0, listeners]);
    expect(over.context.signal.aborted).toBe(false);
  });
});
