// Every checker accepts a good history and rejects, by name, each bad one that is written here by
// hand. A checker that says yes to all of these would prove nothing.
import { describe, expect, test } from "vitest";
import { RequestError } from "../../src/base/errors.ts";
import { PutRequest, PutResponse, RangeResponse } from "../../src/proto/etcdserverpb/kv.ts";
import { WatchResponse } from "../../src/proto/etcdserverpb/watch.ts";
import type { Event } from "../../src/proto/mvccpb/kv.ts";
import { History, isCertain, rangeRequest } from "./history.ts";
import type { KvAnswer, KvCall } from "./history.ts";
import { LeaseValidator } from "./lease-validator.ts";
import { checkLinearizable } from "./linearizability.ts";
import { checkRegister, registerModel } from "./register.ts";
import type { RegisterCall } from "./register.ts";
import { bytesOf } from "./requests.ts";
import { ToldLog } from "./told-log.ts";
import { WatchValidator } from "./watch-validator.ts";

const header = (revision: number) => ({
  clusterId: "0",
  memberId: "0",
  raftTerm: 1,
  revision,
});

const putCall = (key: string, value: string): KvCall => ({
  kind: "put",
  request: PutRequest.fromPartial({ key: bytesOf(key), value: bytesOf(value) }),
});

const putAnswer = (revision: number): KvAnswer => ({
  kind: "put",
  response: PutResponse.fromPartial({ header: header(revision) }),
});

const readCall = (key: string, revision = 0): KvCall => ({
  kind: "range",
  request: rangeRequest({ key: bytesOf(key), revision }),
});

describe("CommittedLog", () => {
  const put = { $case: "put" as const, value: PutRequest.fromPartial({ key: bytesOf("k") }) };

  test("takes the same entries from every member", () => {
    const told = new ToldLog();
    told.put("a", "1");
    told.delete("a");
    expect(told.log.revision()).toBe(3);
  });

  test("I5: another entry at one index", () => {
    const told = new ToldLog();
    told.apply(put);
    const other = { $case: "put" as const, value: PutRequest.fromPartial({ key: bytesOf("b") }) };
    expect(() => told.tell(1, other, { by: "2", revision: 2 })).toThrow("I5");
  });

  test("I26: another digest, or another outcome, at one index", () => {
    const told = new ToldLog();
    told.apply(put);
    const applied = { outcome: { type: "none" as const } };
    expect(() => told.tell(1, put, { by: "2", revision: 2, digest: "other" })).toThrow("I26");
    expect(() => told.tell(1, put, { by: "2", revision: 2, applied })).toThrow("I26");
  });

  test("I27: a revision that stays, or skips", () => {
    expect(() => new ToldLog().apply(put, { revision: 1 })).toThrow("I27");
    expect(() => new ToldLog().apply(put, { revision: 3 })).toThrow("I27");
  });

  test("I28: one proposal in two entries", () => {
    const told = new ToldLog();
    told.apply(put);
    expect(() => told.apply(put, { sequence: 1 })).toThrow("I28");
  });

  test("model: an outcome or an event that the command does not bring about", () => {
    const outcome = { type: "none" as const };
    expect(() => new ToldLog().apply(put, { applied: { outcome } })).toThrow("model");
    expect(() => new ToldLog().apply(put, { applied: { events: null } })).toThrow("model");
  });
});

describe("History", () => {
  function story() {
    const told = new ToldLog();
    const history = new History(told.log, () => told.now);
    const put = (key: string, value: string) => {
      const operation = history.begin(putCall(key, value));
      const revision = told.put(key, value);
      history.end(operation, { type: "answered", answer: putAnswer(revision) });
      return revision;
    };
    const read = (key: string, revision: number, value: string | null, at = 0) => {
      const operation = history.begin(readCall(key, at));
      const request = rangeRequest({ key: bytesOf(key), revision: at });
      const truth = told.log.rangeAt(request, revision);
      const kvs = value === null ? [] : truth.kvs.map((kv) => ({ ...kv, value: bytesOf(value) }));
      const response = RangeResponse.fromPartial({
        header: header(revision),
        kvs,
        count: kvs.length,
      });
      history.end(operation, { type: "answered", answer: { kind: "range", response } });
    };
    return { told, history, put, read };
  }

  test("accepts writes, reads, old revisions and unknown fates", () => {
    const { told, history, put, read } = story();
    put("a", "1");
    read("a", 2, "1");
    history.end(history.begin(putCall("a", "2")), { type: "unknown" });
    told.put("a", "2");
    read("a", 3, "2");
    read("a", 3, "1", 2);
    history.finish();
  });

  test("I23: a read begins after an answer and is older", () => {
    const { put, read } = story();
    put("a", "1");
    put("a", "2");
    expect(() => read("a", 2, "1")).toThrow("I23");
  });

  test("G2: a read of a value that is not there, or not of a value that is", () => {
    const { put, read } = story();
    put("a", "1");
    expect(() => read("a", 2, "9")).toThrow("G2");
    expect(() => read("a", 2, null)).toThrow("G2");
  });

  test("I22: an acknowledged write is not in the log", () => {
    const { told, history } = story();
    const operation = history.begin(putCall("a", "1"));
    told.put("a", "2");
    const fate = { type: "answered" as const, answer: putAnswer(2) };
    expect(() => history.end(operation, fate)).toThrow("I22");
  });

  test("I27: a write is not newer than what was known before it began", () => {
    const { history, put } = story();
    put("a", "1");
    const fate = { type: "answered" as const, answer: putAnswer(2) };
    expect(() => history.end(history.begin(putCall("a", "1")), fate)).toThrow("I27");
  });

  test("I40: an answer of a revision that nobody has applied", () => {
    const { history } = story();
    const fate = { type: "answered" as const, answer: putAnswer(2) };
    expect(() => history.end(history.begin(putCall("a", "1")), fate)).toThrow("I40");
  });

  test("G3: what was refused is done", () => {
    const { told, history } = story();
    history.end(history.begin(putCall("a", "1")), { type: "refused", text: "no" });
    told.put("a", "1");
    expect(() => history.finish()).toThrow("G3");
  });

  test("G3: what is unknown is done twice, or was done before it began", () => {
    const twice = story();
    twice.history.end(twice.history.begin(putCall("a", "1")), { type: "unknown" });
    twice.told.put("a", "1");
    twice.told.put("a", "1");
    expect(() => twice.history.finish()).toThrow("G3");
    const before = story();
    before.told.put("a", "1");
    before.put("b", "2");
    before.history.end(before.history.begin(putCall("a", "1")), { type: "unknown" });
    expect(() => before.history.finish()).toThrow("G3");
  });

  test("I23 and I29: a known revision is called future, a kept one compacted", () => {
    const { history, put } = story();
    put("a", "1");
    const refuse = (code: "futureRev" | "compacted") => () => {
      const text = RequestError.of(code).message;
      history.end(history.begin(readCall("a", 2)), { type: "refused", text });
    };
    expect(refuse("futureRev")).toThrow("I23");
    expect(refuse("compacted")).toThrow("I29");
  });

  test.each([
    ["noLeader", true],
    ["stopped", true],
    ["requestTooManyRequests", true],
    ["leaseNotFound", true],
    ["timeout", false],
    ["timeoutDueToLeaderFail", false],
    ["canceled", false],
  ] as const)("isCertain: %s is %s", (code, certain) => {
    expect(isCertain(RequestError.of(code))).toBe(certain);
  });
});

describe("WatchValidator", () => {
  function watch(change: { start?: number | null; wantsPrev?: boolean } = {}) {
    const told = new ToldLog();
    const wish = { key: bytesOf("a"), rangeEnd: bytesOf("b"), wantsPuts: true, wantsDeletes: true };
    const { start = 2, wantsPrev = false } = change;
    const validator = new WatchValidator("w", told.log, { ...wish, wantsPrev, start });
    const eventsAt = (revision: number): Event[] =>
      (told.log.byRevision[revision]?.events ?? []).map((event) => ({ ...event }));
    const get = (events: readonly Event[], revision = told.log.revision()) => {
      const response = WatchResponse.fromPartial({ header: header(revision) });
      validator.response({ ...response, events: [...events] });
    };
    return { told, validator, eventsAt, get };
  }

  test("accepts all events in order, in one response or several, and progress", () => {
    const { told, validator, eventsAt, get } = watch();
    told.put("a", "1");
    told.put("c", "elsewhere");
    told.put("a", "2");
    told.delete("a");
    expect(validator.isComplete()).toBe(false);
    get(eventsAt(2));
    get([...eventsAt(4), ...eventsAt(5)]);
    get([]);
    expect(validator.isComplete()).toBe(true);
    expect(validator.next()).toBe(6);
  });

  test("I32: an event comes twice, or late", () => {
    const { told, eventsAt, get } = watch();
    told.put("a", "1");
    get(eventsAt(2));
    expect(() => get(eventsAt(2))).toThrow("I32");
  });

  test("I34: an event is missing before another", () => {
    const { told, eventsAt, get } = watch();
    told.put("a", "1");
    told.put("a", "2");
    expect(() => get(eventsAt(3))).toThrow("I34");
  });

  test("I35: a revision comes in parts", () => {
    const { told, validator, eventsAt, get } = watch();
    const request = (key: string) => ({
      request: {
        $case: "requestPut" as const,
        value: PutRequest.fromPartial({ key: bytesOf(key) }),
      },
    });
    const success = [request("a"), request("a2")];
    told.apply({ $case: "txn", value: { compare: [], success, failure: [] } });
    expect(eventsAt(2)).toHaveLength(2);
    expect(() => get(eventsAt(2).slice(0, 1))).toThrow("I35");
    expect(validator.eventCount).toBe(0);
  });

  test("I36: a watch ends as compacted without a compaction", () => {
    const { told, validator } = watch();
    told.put("a", "1");
    const response = WatchResponse.fromPartial({ header: header(2), canceled: true });
    expect(() => validator.response({ ...response, compactRevision: 5 })).toThrow("I36");
  });

  test("I37: progress is told beyond an event that did not come", () => {
    const { told, get } = watch();
    told.put("a", "1");
    expect(() => get([])).toThrow("I37");
  });

  test("I38: an event of another key, or of another content", () => {
    const other = watch();
    other.told.put("c", "1");
    expect(() => other.get(other.eventsAt(2))).toThrow("I38");
    const changed = watch();
    changed.told.put("a", "1");
    const [event] = changed.eventsAt(2);
    const kv = event?.kv === undefined ? undefined : { ...event.kv, value: bytesOf("9") };
    expect(() => changed.get([{ type: 0, kv, prevKv: undefined }])).toThrow("I38");
  });

  test("I39: a previous value is wrong, absent, or not asked for", () => {
    const { told, eventsAt, get } = watch({ wantsPrev: true });
    told.put("a", "1");
    told.put("a", "2");
    get(eventsAt(2));
    expect(() => get(eventsAt(3))).toThrow("I39");
    const wrong = watch({ wantsPrev: true });
    wrong.told.put("a", "1");
    const events = wrong.eventsAt(2).map((event) => ({ ...event, prevKv: event.kv }));
    expect(() => wrong.get(events)).toThrow("I39");
    const unasked = watch();
    unasked.told.put("a", "1");
    const extra = unasked.eventsAt(2).map((event) => ({ ...event, prevKv: event.kv }));
    expect(() => unasked.get(extra)).toThrow("I39");
  });

  test("I40: a revision that nobody has applied", () => {
    const { get } = watch();
    expect(() => get([], 7)).toThrow("I40");
  });
});

describe("LeaseValidator", () => {
  function lease() {
    const told = new ToldLog();
    const leases = new LeaseValidator(told.log, { rateMax: 1.1 });
    told.apply({ $case: "leaseGrant", value: { ID: "7", TTL: 2 } });
    leases.granted("7", { calledAt: 0, ttlSeconds: 2 });
    const expire = (at: number) => {
      told.now = at;
      const value = { IDs: ["7"], term: 1, judgedIndex: 9 };
      told.apply({ $case: "leaseExpire", value });
    };
    return { leases, expire };
  }

  test("accepts an expiry when the time has passed by the fastest clock", () => {
    const { leases, expire } = lease();
    expire(1900);
    leases.calledGone("7");
    leases.finish();
  });

  test("I44: an expiry is early, by the grant or by a renewal", () => {
    const granted = lease();
    granted.expire(1700);
    expect(() => granted.leases.finish()).toThrow("I44");
    const renewed = lease();
    renewed.leases.renewed("7", { calledAt: 1000, ttlSeconds: 2 });
    renewed.expire(1900);
    expect(() => renewed.leases.finish()).toThrow("I44");
  });

  test("I43: a lease is renewed that is gone", () => {
    const { leases, expire } = lease();
    expire(2500);
    expect(() => leases.renewed("7", { calledAt: 2600, ttlSeconds: 2 })).toThrow("I43");
  });

  test("I23: a living lease is called gone; I22: a grant is not in the log", () => {
    const { leases } = lease();
    expect(() => leases.calledGone("7")).toThrow("I23");
    expect(() => leases.granted("8", { calledAt: 0, ttlSeconds: 2 })).toThrow("I22");
  });
});

describe("linearizability search", () => {
  const write = (value: string, from: number, to: number): RegisterCall => ({
    calledAt: from,
    returnedAt: to,
    input: { type: "write", value },
    output: to === Infinity ? null : { type: "written" },
  });
  const read = (value: string | null, from: number, to: number): RegisterCall => ({
    calledAt: from,
    returnedAt: to,
    input: { type: "read" },
    output: { type: "value", value },
  });
  const swap = (change: [string, string], done: boolean, from: number, to: number) => ({
    calledAt: from,
    returnedAt: to,
    input: { type: "swap" as const, from: change[0], to: change[1] },
    output: { type: "swapped" as const, done },
  });

  test.each<[string, RegisterCall[]]>([
    ["nothing", []],
    ["one after the other", [write("a", 0, 1), read("a", 2, 3)]],
    ["concurrent, either order", [write("a", 0, 9), read(null, 1, 2), read("a", 3, 4)]],
    ["unknown, done late", [write("a", 0, Infinity), read(null, 1, 2), read("a", 3, 4)]],
    ["unknown, never done", [write("a", 0, Infinity), read(null, 1, 2)]],
    ["a swap that lost", [write("a", 0, 1), swap(["x", "y"], false, 2, 3), read("a", 4, 5)]],
  ])("accepts %s", (_name, calls) => {
    expect(checkRegister(calls)).toBe("linearizable");
  });

  test.each<[string, RegisterCall[]]>([
    ["a stale read", [write("a", 0, 1), write("b", 2, 3), read("a", 4, 5)]],
    ["a read from nowhere", [read("a", 0, 1)]],
    ["a lost write", [write("a", 0, 1), read(null, 2, 3)]],
    ["time travel", [write("a", 0, 9), read("a", 1, 2), read(null, 3, 4)]],
    [
      "two swaps of one value",
      [write("a", 0, 1), swap(["a", "b"], true, 2, 3), swap(["a", "c"], true, 2, 3)],
    ],
    ["a swap that won against another value", [write("b", 0, 1), swap(["a", "c"], true, 2, 3)]],
    [
      "an unknown write done twice",
      [write("a", 0, Infinity), read("a", 1, 2), write("b", 3, 4), read("a", 5, 6)],
    ],
  ])("rejects %s", (_name, calls) => {
    expect(checkRegister(calls)).toBe("not linearizable");
  });

  test("gives up at its bound", () => {
    const calls = Array.from({ length: 14 }, (_, i) => write(`v${i}`, 0, 100));
    const history = [...calls, read("nothing", 101, 102)];
    expect(checkLinearizable(history, registerModel, 5000)).toBe("unknown");
  });
});
