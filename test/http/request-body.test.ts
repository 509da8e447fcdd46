import { IncomingMessage } from "node:http";
import { Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { bodyLimitsFor, bodyText, bodyTexts } from "../../src/http/request-body.ts";
import { FakeClock } from "../sim/fake-clock.ts";

const limits = { bytesMax: 100, depthMax: 4, firstTextMs: 1000 };

/** A request whose body a test pushes. */
function request(...chunks: (string | null)[]): IncomingMessage {
  const incoming = new IncomingMessage(new Socket());
  for (const chunk of chunks) incoming.push(chunk === null ? null : Buffer.from(chunk));
  return incoming;
}

test("bodyLimitsFor leaves room for the largest request, whose bytes JSON has in base64", async () => {
  for (const requestBytesMax of [1, 1_572_864, 10_485_760]) {
    const value = Buffer.alloc(requestBytesMax).toString("base64");
    const text = JSON.stringify({ key: "a2V5", value, lease: "7", prev_kv: true });
    const body = bodyText(request(text, null), bodyLimitsFor(requestBytesMax), new FakeClock());
    expect((await body).length).toBe(text.length);
  }
});

describe("bodyText", () => {
  test("gives the one text, or an empty message for an empty body", async () => {
    const clock = new FakeClock();
    expect(await bodyText(request('{"a":', "1}", null), limits, clock)).toBe('{"a":1}');
    expect(await bodyText(request(null), limits, clock)).toBe("{}");
    expect(clock.timerCount()).toBe(0);
  });

  test("refuses a second text without giving up the connection", async () => {
    const incoming = request("{}{}", null);
    await expect(bodyText(incoming, limits, new FakeClock())).rejects.toThrow("more than one");
    expect(incoming.destroyed).toBe(false);
  });
});

describe("bodyTexts", () => {
  test("gives each text when it is complete, while the body stays open", async () => {
    const incoming = request("{}");
    const texts = bodyTexts(incoming, limits, new FakeClock());
    expect((await texts.next()).value).toBe("{}");
    incoming.push('{"b":2}');
    expect((await texts.next()).value).toBe('{"b":2}');
    incoming.push(null);
    expect((await texts.next()).done).toBe(true);
  });

  test("is late only until the first text", async () => {
    const clock = new FakeClock();
    const incoming = request('{"a"');
    const texts = bodyTexts(incoming, limits, clock);
    const first = texts.next();
    await expect.poll(() => clock.timerCount()).toBe(1);
    clock.advance(999);
    incoming.push(":1}");
    expect((await first).value).toBe('{"a":1}');
    expect(clock.timerCount()).toBe(0);
    const silent = bodyTexts(request("{"), limits, clock).next();
    const refused = expect(silent).rejects.toThrow("too slowly");
    await expect.poll(() => clock.timerCount()).toBe(1);
    clock.advance(1000);
    await refused;
  });
});
