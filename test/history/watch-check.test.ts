// The watch check accepts what a right server sends, however it is cut into responses and
// connections, and names every way in which a stream can be wrong.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Prng } from "../../src/base/prng.ts";
import {
  WatchCreateRequest,
  WatchCreateRequest_FilterType as FilterType,
  WatchResponse,
} from "../../src/proto/etcdserverpb/watch.ts";
import type { Event } from "../../src/proto/mvccpb/kv.ts";
import { bytes, goodStory, put, remove, SingleCopy } from "./stories.ts";
import { checkWatch } from "./watch-check.ts";
import type { WatchConnection } from "./watch-check.ts";

const everything = { key: bytes("a"), rangeEnd: Uint8Array.of(0), prevKv: true };

const emptyResponse = WatchResponse.fromPartial({});

function said(revision: number, more: Partial<WatchResponse> = {}): WatchResponse {
  const header = { clusterId: "0", memberId: "0", raftTerm: 0, revision };
  return { ...emptyResponse, header, ...more };
}

const created = (revision: number): WatchResponse => said(revision, { created: true });

/** a=1 at 2, b=2 at 3, a deleted at 4, a=3 at 5; c and d at 6 together. */
function world() {
  const copy = new SingleCopy();
  for (const call of [put("a", "1"), put("b", "2"), remove("a"), put("a", "3")]) copy.apply(call);
  const both = ["c", "d"].map((key) => {
    const value = { key: bytes(key), value: bytes(key) };
    return { request: { $case: "requestPut" as const, value: { ...emptyPut, ...value } } };
  });
  copy.apply({ type: "txn", request: { compare: [], success: both, failure: [] } });
  const before = new Map<string, Event["kv"]>();
  const events = copy.log.flatMap((one) =>
    one.events.map((event): Event => {
      const key = new TextDecoder().decode(event.kv?.key);
      const prevKv = before.get(key);
      before.set(key, event.type === 0 ? event.kv : undefined);
      return { ...event, prevKv };
    }),
  );
  const [a1, b2, a4, a5, c6, d6] = events as [Event, Event, Event, Event, Event, Event];
  return { log: copy.log, events, a1, b2, a4, a5, c6, d6 };
}

const emptyPut = {
  lease: "0",
  prevKv: false,
  ignoreValue: false,
  ignoreLease: false,
};
const w = world();

interface Given {
  readonly request?: Partial<WatchCreateRequest>;
  readonly completeTo?: number;
  readonly compactRevision?: number;
  readonly startRevision?: number;
}

function rulesOf(responses: WatchResponse[], given: Given = {}): string[] {
  const startRevision = given.startRevision ?? 2;
  return rulesOfAll([{ startRevision, responses: [created(1), ...responses] }], given);
}

function rulesOfAll(connections: WatchConnection[], given: Given = {}): string[] {
  const request = { ...WatchCreateRequest.fromPartial(everything), ...given.request };
  const record = { request, connections, completeTo: given.completeTo ?? 0 };
  const compactRevision = given.compactRevision ?? -1;
  return checkWatch(record, { log: w.log, compactRevision }).map(({ rule, message }) => {
    return message.includes("{") ? message.slice(0, message.indexOf("{") - 2) : rule;
  });
}

const live = (...events: Event[]) => said(events.at(-1)?.kv?.modRevision ?? 0, { events });

describe("good streams", () => {
  test("checkWatch takes one revision a response, many in one, and fragments", () => {
    const all = { completeTo: 6 };
    const each = [live(w.a1), live(w.b2), live(w.a4), live(w.a5), live(w.c6, w.d6)];
    expect(rulesOf(each, all)).toEqual([]);
    expect(rulesOf([said(6, { events: w.events })], all)).toEqual([]);
    const pieces = [
      said(6, { events: [w.a1, w.b2, w.a4, w.a5, w.c6], fragment: true }),
      said(6, { events: [w.d6] }),
    ];
    expect(rulesOf(pieces, { ...all, request: { fragment: true } })).toEqual([]);
  });

  test("checkWatch takes filters, a single key, and previous values that were compacted", () => {
    const noPut = { request: { filters: [FilterType.NOPUT] }, completeTo: 6 };
    expect(rulesOf([live(w.a4)], noPut)).toEqual([]);
    const single = { request: { key: bytes("b"), rangeEnd: bytes("") }, completeTo: 6 };
    expect(rulesOf([live(w.b2), said(6)], single)).toEqual([]);
    const bare = { ...w.a4, prevKv: undefined };
    expect(rulesOf([live(w.a1), live(w.b2), live(bare)], { compactRevision: 4 })).toEqual([]);
  });

  test("checkWatch takes a resume after the last revision, and one after a compaction", () => {
    const first = { startRevision: 2, responses: [created(1), live(w.a1), live(w.b2)] };
    const second = { startRevision: 4, responses: [created(3), live(w.a4), live(w.a5)] };
    expect(rulesOfAll([first, second])).toEqual([]);
    const canceled = said(0, { canceled: true, compactRevision: 5 });
    const gone = { startRevision: 4, responses: [created(6), canceled] };
    const later = { startRevision: 5, responses: [created(6), live(w.a5), live(w.c6, w.d6)] };
    expect(rulesOfAll([first, gone, later], { compactRevision: 5, completeTo: 6 })).toEqual([]);
  });
});

describe("anomalies", () => {
  test("reordered events", () => {
    expect(rulesOf([live(w.b2), live(w.a1)])).toEqual(["I32: reordered"]);
    expect(rulesOf([live(w.a1, w.b2, w.a4, w.a5), said(6, { events: [w.d6, w.c6] })])).toContain(
      "I32: reordered",
    );
  });

  test("a duplicated event", () => {
    expect(rulesOf([live(w.a1), live(w.a1)])).toEqual(["I33: duplicated"]);
  });

  test("a lost event, in the middle and at the end", () => {
    expect(rulesOf([live(w.a1), live(w.a4)])).toEqual(["I34: lost"]);
    expect(rulesOf([live(w.a1), live(w.b2)], { completeTo: 4 })).toEqual(["I34: lost"]);
  });

  test("a split revision, and a fragment that nobody asked for", () => {
    const start = said(5, { events: [w.a1, w.b2, w.a4, w.a5] });
    expect(rulesOf([start, live(w.c6), live(w.d6)])).toEqual(["I35: split revision 6"]);
    const piece = said(6, { events: [w.c6], fragment: true });
    expect(rulesOf([start, piece, live(w.d6)])).toEqual(["I35: a fragment that nobody asked for"]);
  });

  test("a wrong filter: another key, another kind, an event before the start", () => {
    const single = { request: { key: bytes("b"), rangeEnd: bytes("") } };
    expect(rulesOf([live(w.a1)], single)).toEqual(["I38: wrong filter"]);
    expect(rulesOf([live(w.a1)], { request: { filters: [FilterType.NOPUT] } })).toEqual([
      "I38: wrong filter",
    ]);
    expect(rulesOf([live(w.b2)], { startRevision: 4 })).toEqual(["I33: duplicated"]);
  });

  test("a wrong, missing or unwanted prev_kv", () => {
    const [before, behind] = [live(w.a1), live(w.b2)];
    const wrong = { ...w.a4, prevKv: w.b2.kv };
    expect(rulesOf([before, behind, live(wrong)])[0]).toMatch(/^I39: wrong prev_kv/);
    const bare = { ...w.a4, prevKv: undefined };
    expect(rulesOf([before, behind, live(bare)])).toEqual(["I39: prev_kv lacks"]);
    const unwanted = { request: { prevKv: false } };
    expect(rulesOf([before, behind, live(w.a4)], unwanted)[0]).toMatch(/^I39: wrong prev_kv/);
  });

  test("a wrong value, and an event that was never committed", () => {
    const kv = w.a1.kv;
    if (kv === undefined) throw new Error("an event without a key");
    const wrong = { ...w.a1, kv: { ...kv, value: bytes("9") } };
    expect(rulesOf([live(wrong)])[0]).toMatch(/^I39: wrong event/);
    const invented = { ...w.a1, kv: { ...kv, modRevision: 9 } };
    expect(rulesOf([live(invented)])).toEqual(["I40: was never committed"]);
  });

  test("an event beyond the header, and one behind a bookmark", () => {
    expect(rulesOf([live(w.a1), said(2, { events: [w.b2] })])[0]).toMatch(/^I37: event beyond/);
    const late = rulesOf([said(3), live(w.a1)]);
    expect(late[0]).toMatch(/^I37: progress to 3 before 2 came/);
    expect(late[1]).toMatch(/^I37: event behind the bookmark/);
  });

  test("a gap at reconnect: what the server skipped, and what nobody asked for", () => {
    const first = { startRevision: 2, responses: [created(1), live(w.a1)] };
    const skipped = { startRevision: 3, responses: [created(4), live(w.a4)] };
    expect(rulesOfAll([first, skipped])).toEqual(["I34: lost"]);
    const unasked = { startRevision: 4, responses: [created(4), live(w.a4)] };
    expect(rulesOfAll([first, unasked])).toEqual(["I36: gap at reconnect: 2 was the last"]);
  });

  test("a cancel by a compaction that does not concern the watch", () => {
    const canceled = said(0, { canceled: true, compactRevision: 3 });
    const given = { compactRevision: 3 };
    expect(rulesOf([live(w.a1), live(w.b2), canceled], given)[0]).toMatch(/^I34: canceled by/);
  });

  test("events before the watch was created, and after its end", () => {
    expect(rulesOfAll([{ startRevision: 2, responses: [live(w.a1)] }])[0]).toMatch(/before the/);
    expect(rulesOf([said(1, { canceled: true }), live(w.a1)])[0]).toMatch(/after the end/);
  });
});

describe("one change to a good stream", () => {
  /** All events of a story, cut at random between revisions. */
  function stream(seed: number) {
    const { log } = goodStory(seed, 40);
    const prng = new Prng(seed, 1);
    const batches: Event[][] = [[]];
    for (const { events } of log) {
      batches.at(-1)?.push(...events);
      if (prng.chance(0.5)) batches.push([]);
    }
    return { log, batches: batches.filter((batch) => batch.length > 0) };
  }

  function changed(change: (events: Event[], at: number) => Event[]): void {
    fc.assert(
      fc.property(fc.integer(), fc.nat(), (seed, pick) => {
        const { log, batches } = stream(seed);
        const all = batches.flat();
        fc.pre(all.length > 1);
        const judge = (responses: WatchResponse[]) => {
          const request = WatchCreateRequest.fromPartial({ ...everything, prevKv: false });
          const connections = [{ startRevision: 2, responses: [created(1), ...responses] }];
          const record = { request, connections, completeTo: log.length + 1 };
          return checkWatch(record, { log, compactRevision: -1 });
        };
        const head = log.length + 1;
        expect(judge(batches.map((events) => said(head, { events })))).toEqual([]);
        const events = change([...all], pick % (all.length - 1));
        expect(judge([said(head, { events })])).not.toEqual([]);
      }),
      { numRuns: 100 },
    );
  }

  test("a dropped event is rejected", () => changed((events, at) => events.toSpliced(at, 1)));

  test("a duplicated event is rejected", () =>
    changed((events, at) => events.toSpliced(at, 0, ...events.slice(at, at + 1))));

  test("two swapped events are rejected", () =>
    changed((events, at) => {
      const [one, next] = events.slice(at, at + 2);
      return one && next ? events.toSpliced(at, 2, next, one) : [];
    }));
});
