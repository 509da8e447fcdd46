import { describe, expect, test } from "vitest";
import { startInThread } from "../../src/wal/wal-channel.ts";
import { WalBody } from "../../src/wal/wal-body.ts";
import type { WalReply, WalRequest } from "../../src/wal/wal-message.ts";
import { entries } from "../contract/log.ts";
import { SimFiles } from "../sim/sim-files.ts";
import { encodeAppend } from "./scripted-log.ts";
import { create, store, until } from "./settle.ts";

const start = { directory: "/member", create, store, segmentBytes: 64 * 4096 };

function newBody(files = new SimFiles()): { body: WalBody; replies: WalReply[] } {
  const replies: WalReply[] = [];
  const post = (reply: WalReply) => void replies.push(reply);
  let ms = 0;
  const now = () => (ms += 2);
  return { body: new WalBody({ files, post, now, prepare() {} }, start), replies };
}

function append(number: number, size = 10): WalRequest {
  const records = encodeAppend({ hardState: null, entries: entries(number, number, 1, size) }, 0);
  return { type: "append", number, records };
}

function told(replies: readonly WalReply[]): string {
  return replies
    .map((reply) => ("number" in reply ? `${reply.type} ${reply.number}` : reply.type))
    .join(" ");
}

describe("WalBody", () => {
  test("makes one batch of the appends that gathered, and answers them with one reply", () => {
    const { body, replies } = newBody();
    for (let number = 1; number <= 100; number++) body.push(append(number));
    expect(body.turn()).toBe(false);
    expect(told(replies)).toBe("opened synced 100");
    expect(replies.at(-1)).toMatchObject({ batchMs: 2 });
  });

  test("answers requests in their order: a read sees the appends before it and no others", () => {
    const { body, replies } = newBody();
    body.push(append(1));
    body.push({ type: "read", number: 2, first: 1, last: 1, bytesMax: 100 });
    body.push(append(2));
    while (body.turn());
    expect(told(replies)).toBe("opened synced 1 records 2 synced 2");
  });

  test("splits a batch at its limit of bytes, not an append", () => {
    const { body, replies } = newBody();
    for (let number = 1; number <= 3; number++) body.push(append(number, 5_000_000));
    while (body.turn());
    expect(told(replies)).toBe("opened synced 1 synced 2 synced 3");
  });

  test("answers appends without records, and writes nothing for them", () => {
    const files = new SimFiles();
    const { body, replies } = newBody(files);
    const steps = files.steps();
    body.push({ type: "append", number: 1, records: new Uint8Array(0) });
    body.turn();
    expect(told(replies)).toBe("opened synced 1");
    expect(files.steps()).toBe(steps);
  });

  test("says once that it failed, and serves nothing any more", () => {
    const files = new SimFiles();
    const { body, replies } = newBody(files);
    files.fault = ({ name }) => (name === "sync" ? "EIO" : null);
    body.push(append(1));
    expect(body.turn()).toBe(false);
    files.fault = () => null;
    const steps = files.steps();
    body.push(append(2));
    body.push({ type: "close" });
    expect(body.turn()).toBe(false);
    expect(told(replies)).toBe("opened failed");
    expect(files.steps()).toBe(steps);
  });
});

test("startInThread answers after the call, as a thread would", async () => {
  const channel = startInThread(new SimFiles(), start);
  const replies: WalReply[] = [];
  channel.listen({ reply: (reply) => void replies.push(reply), died() {} });
  expect(replies).toEqual([]);
  await until(() => replies.length === 1);
  channel.post(append(1), []);
  expect(replies).toHaveLength(1);
  await until(() => replies.length === 2);
  await channel.end();
  channel.post(append(2), []);
  for (let turn = 0; turn < 5; turn++) await new Promise((next) => setImmediate(next));
  expect(told(replies)).toBe("opened synced 1");
});
