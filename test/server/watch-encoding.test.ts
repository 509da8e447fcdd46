// Composed responses are the bytes of the generated encoder, and events are encoded once.
import { describe, expect, test } from "vitest";
import { concatBytes } from "../../src/base/bytes.ts";
import { WatchResponse } from "../../src/proto/etcdserverpb/watch.ts";
import { Event, KeyValue } from "../../src/proto/mvccpb/kv.ts";
import {
  composeResponse,
  EncodedEvent,
  fieldsOf,
  fragmentsOf,
} from "../../src/server/watch-encoding.ts";
import { bytes } from "./watch-bench.ts";

const header = { clusterId: "18446744073709551615", memberId: "8", revision: 12, raftTerm: 3 };

function put(key: string, value: string, revisions: Partial<KeyValue> = {}): EncodedEvent {
  const kv = KeyValue.fromPartial({ key: bytes(key), value: bytes(value), ...revisions });
  return new EncodedEvent(Event.fromPartial({ kv }));
}

describe("composeResponse", () => {
  test.each(["0", "1", "-1", "9223372036854775807", "-9223372036854775808"])(
    "gives the bytes of the generated encoder, for watch id %s",
    (id) => {
      const events = [put("a", "1"), put("b", "x".repeat(5000)), put("c", "2"), put("d", "3")];
      const fields = events.map((event) => event.field());
      for (const fragment of [false, true]) {
        const parts = composeResponse(
          fieldsOf({ header }),
          fieldsOf({ watchId: id }),
          fields,
          fragment,
        );
        const wanted = WatchResponse.fromPartial({
          header,
          watchId: id,
          fragment,
          events: events.map(({ event }) => event),
        });
        expect(concatBytes(parts)).toEqual(WatchResponse.encode(wanted).finish());
      }
    },
  );
});

describe("EncodedEvent", () => {
  test("is encoded once, with and without the value before", () => {
    const event = put("a", "2", { createRevision: 5, modRevision: 7 });
    let reads = 0;
    const readAt = (key: Uint8Array, at: number) => {
      reads += 1;
      expect([key, at]).toEqual([bytes("a"), 6]);
      return KeyValue.fromPartial({ key, value: bytes("1"), modRevision: 5 });
    };
    expect(event.field()).toBe(event.field());
    expect(event.fieldWithPrev(readAt)).toBe(event.fieldWithPrev(readAt));
    expect(reads).toBe(1);
    const decoded = WatchResponse.decode(event.fieldWithPrev(readAt)).events[0];
    expect(decoded?.prevKv?.modRevision).toBe(5);
    expect(WatchResponse.decode(event.field()).events[0]?.prevKv).toBeUndefined();
  });

  test("has no value before a creation, and shares its bytes when there is none", () => {
    const event = put("a", "1", { createRevision: 7, modRevision: 7 });
    const never = () => expect.unreachable("a creation has nothing before it");
    expect(event.fieldWithPrev(never)).toBe(event.field());
    const old = put("a", "2", { createRevision: 5, modRevision: 7 });
    expect(old.fieldWithPrev(() => undefined)).toBe(old.field());
  });

  test("retainedBytes grows with what was encoded", () => {
    const event = put("a", "x".repeat(1000), { createRevision: 5, modRevision: 7 });
    const before = event.retainedBytes();
    event.field();
    const plain = event.retainedBytes();
    expect(plain - before).toBeGreaterThan(1000);
    event.fieldWithPrev(() => KeyValue.fromPartial({ value: bytes("y".repeat(3000)) }));
    expect(event.retainedBytes() - plain).toBeGreaterThan(4000);
  });
});

describe("fragmentsOf", () => {
  const sized = (...lengths: number[]) => lengths.map((length) => new Uint8Array(length));
  const lengths = (fragments: Uint8Array[][]) =>
    fragments.map((fragment) => fragment.map((event) => event.length));

  test("keeps a response that is below the limit whole", () => {
    expect(lengths(fragmentsOf(sized(30, 30, 29), 10, 100))).toEqual([[30, 30, 29]]);
  });

  test("splits between events, and never an event", () => {
    expect(lengths(fragmentsOf(sized(30, 30, 30), 10, 100))).toEqual([[30, 30], [30]]);
    expect(lengths(fragmentsOf(sized(500, 1, 500), 10, 100))).toEqual([[500], [1], [500]]);
  });
});
