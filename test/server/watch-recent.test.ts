// The recent revisions stay within both bounds, and are consecutive.
import { describe, expect, test } from "vitest";
import { Event, KeyValue } from "../../src/proto/mvccpb/kv.ts";
import { encodedRevision } from "../../src/server/watch-encoding.ts";
import { RecentRevisions } from "../../src/server/watch-recent.ts";
import { bytes } from "./watch-bench.ts";

function revisionOf(revision: number, valueBytes: number) {
  const kv = KeyValue.fromPartial({ key: bytes("a"), value: new Uint8Array(valueBytes) });
  return encodedRevision({ revision, events: [Event.fromPartial({ kv })] });
}

describe("RecentRevisions", () => {
  test("keeps the newest by count", () => {
    const recent = new RecentRevisions(10, { revisionsMax: 3, bytesMax: 1 << 20 });
    expect(recent.first()).toBe(11);
    for (let revision = 11; revision <= 20; revision++) recent.push(revisionOf(revision, 1));
    expect(recent.first()).toBe(18);
    expect(recent.get(18).revision).toBe(18);
    expect(() => recent.get(17)).toThrow("not among the recent ones");
  });

  test("keeps the newest by bytes, none if one alone is too large", () => {
    const recent = new RecentRevisions(10, { revisionsMax: 100, bytesMax: 10_000 });
    for (let revision = 11; revision <= 30; revision++) recent.push(revisionOf(revision, 2000));
    expect(recent.first()).toBe(28);
    expect(recent.retainedBytes()).toBeLessThanOrEqual(10_000);
    recent.push(revisionOf(31, 20_000));
    expect(recent.first()).toBe(32);
    expect(recent.retainedBytes()).toBe(0);
    recent.push(revisionOf(32, 1));
    expect(recent.first()).toBe(32);
  });

  test("measures again what was encoded since", () => {
    const recent = new RecentRevisions(10, { revisionsMax: 100, bytesMax: 10_000 });
    for (let revision = 11; revision <= 13; revision++) recent.push(revisionOf(revision, 2000));
    const first = recent.first();
    for (let revision = first; revision <= 13; revision++) {
      const kept = recent.get(revision);
      for (const event of kept.events) event.field();
    }
    for (let revision = first; revision <= 13; revision++) {
      if (revision >= recent.first()) recent.measure(recent.get(revision));
    }
    expect(recent.first()).toBe(first + 1);
    expect(recent.retainedBytes()).toBeLessThanOrEqual(10_000);
  });

  test("push asserts that no revision is left out", () => {
    const recent = new RecentRevisions(10, { revisionsMax: 3, bytesMax: 1000 });
    expect(() => recent.push(revisionOf(12, 1))).toThrow("left out");
  });
});
