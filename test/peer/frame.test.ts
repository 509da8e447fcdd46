// Frames: what is sent is what arrives, and nothing damaged ever does.
import { describe, expect, test } from "vitest";
import type { MemberId } from "../../src/base/ids.ts";
import { Prng } from "../../src/base/prng.ts";
import { decodeFrame, encodeFrame } from "../../src/peer/frame.ts";
import { DecodeError } from "../../src/raft/codec.ts";
import type { Message } from "../../src/raft/message.ts";

const from = "1" as MemberId;
const to = "18446744073709551615" as MemberId;
const messages: Message[] = [
  { type: "heartbeat", from, to, term: 7, round: 3, commit: 12 },
  {
    type: "append",
    from,
    to,
    term: 7,
    previous: { term: 6, index: 11 },
    entries: [{ term: 7, index: 12, kind: "normal", data: new Uint8Array([1, 2, 3]) }],
    commit: 11,
  },
];

describe("frame", () => {
  test("decodeFrame gives back what encodeFrame was given, in order", () => {
    const decoded = decodeFrame(encodeFrame(messages));
    expect(decoded.map(({ type }) => type)).toEqual(["heartbeat", "append"]);
    expect(decoded[0]).toEqual(messages[0]);
    const [, append] = decoded;
    expect(append?.type === "append" && [...(append.entries[0]?.data ?? [])]).toEqual([1, 2, 3]);
  });

  test("decodeFrame takes an empty frame for no messages", () => {
    expect(decodeFrame(encodeFrame([]))).toEqual([]);
  });

  test("decodeFrame refuses every single flipped bit", () => {
    const frame = encodeFrame(messages);
    for (let bit = 0; bit < frame.length * 8; bit++) {
      const damaged = Buffer.from(frame);
      damaged.writeUInt8(damaged.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      expect(() => decodeFrame(damaged)).toThrow(DecodeError);
    }
  });

  test("decodeFrame refuses cut frames and noise", () => {
    const frame = encodeFrame(messages);
    for (let length = 0; length < frame.length; length++) {
      expect(() => decodeFrame(frame.subarray(0, length))).toThrow(DecodeError);
    }
    const prng = new Prng(1);
    const noise = Buffer.from(Array.from({ length: 64 }, () => prng.below(256)));
    expect(() => decodeFrame(noise)).toThrow(DecodeError);
  });
});
