// The queue between the socket and a streaming handler.
import { describe, expect, test } from "vitest";
import { RequestQueue } from "../../src/grpc/request-queue.ts";

function open(messagesMax: number) {
  const flow: string[] = [];
  const queue = new RequestQueue(
    { pause: () => void flow.push("pause"), resume: () => void flow.push("resume") },
    messagesMax,
  );
  return { queue, flow, iterator: queue[Symbol.asyncIterator]() };
}

const message = (text: string) => new Uint8Array(Buffer.from(text));

describe("RequestQueue", () => {
  test("gives messages in order, waits for more, and ends after the last", async () => {
    const { queue, iterator } = open(8);
    queue.push(message("a"));
    expect((await iterator.next()).value).toEqual(message("a"));
    const next = iterator.next();
    queue.push(message("b"));
    expect((await next).value).toEqual(message("b"));
    queue.push(message("c"));
    queue.end();
    expect((await iterator.next()).value).toEqual(message("c"));
    expect((await iterator.next()).done).toBe(true);
  });

  test("pauses the stream when full and resumes at half", async () => {
    const { queue, flow, iterator } = open(4);
    for (const text of ["a", "b", "c", "d", "e"]) queue.push(message(text));
    expect(flow).toEqual(["pause"]);
    await iterator.next();
    await iterator.next();
    expect(flow).toEqual(["pause"]);
    await iterator.next();
    expect(flow).toEqual(["pause", "resume"]);
  });

  test("fail drops what waits and throws, also into a waiting read", async () => {
    const { queue, flow, iterator } = open(2);
    queue.push(message("a"));
    queue.push(message("b"));
    queue.fail(new Error("gone"));
    await expect(iterator.next()).rejects.toThrow("gone");
    expect(flow).toEqual(["pause", "resume"]);
    const other = open(2);
    const waiting = other.iterator.next();
    other.queue.fail(new Error("gone"));
    await expect(waiting).rejects.toThrow("gone");
  });

  test("a handler that stops reading lets the stream run dry", async () => {
    const { queue, flow } = open(2);
    queue.push(message("a"));
    queue.push(message("b"));
    for await (const first of queue) {
      expect(first).toEqual(message("a"));
      break;
    }
    queue.push(message("c"));
    expect(flow).toEqual(["pause", "resume"]);
  });

  test("a message that waits keeps its bytes, and nothing of the read it came in", async () => {
    const { queue, iterator } = open(4);
    const read = Buffer.alloc(65_536, "r");
    queue.push(read.subarray(100, 110));
    const { value } = await iterator.next();
    expect(Buffer.from(value).toString()).toBe("r".repeat(10));
    expect(value.buffer.byteLength).toBe(10);
  });

  test("asserts that one reader reads at a time", async () => {
    const { queue, iterator } = open(2);
    const first = iterator.next();
    expect(() => iterator.next()).toThrow("two reads of one request stream");
    queue.end();
    await first;
  });
});
