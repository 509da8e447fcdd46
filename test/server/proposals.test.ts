// Proposals: every call ends once, with its own outcome or with a refusal that tells its fate.
import { beforeEach, describe, expect, test } from "vitest";
import { Command } from "../../src/proto/keelson/command.ts";
import type { CallLimits, LeaderView } from "../../src/server/call-limits.ts";
import { Proposals, ReferenceWriter } from "../../src/server/proposals.ts";
import type { Outcome } from "../../src/state/outcome.ts";
import { FakeClock } from "../sim/fake-clock.ts";
import { follow, identity, leadingRaft, lonelyRaft, options, own } from "./small-raft.ts";

const none: Outcome = { type: "none" };
const limits: CallLimits = { deadline: Infinity, signal: new AbortController().signal };

let clock: FakeClock;
let proposals: Proposals;

beforeEach(() => {
  clock = new FakeClock();
  proposals = new Proposals({ clock, identity }, options);
});

function view(changes: Partial<LeaderView> = {}): LeaderView {
  return { term: 1, leader: own, reachable: true, ...changes };
}

function reference(sequence: number) {
  return { member: identity.member, start: identity.start, sequence };
}

function refusalOf(call: Promise<Outcome>): Promise<string> {
  return call.then(
    () => "answered",
    (error: unknown) => (error instanceof Error ? error.message : "no error"),
  );
}

function late(): void {
  clock.advance(options.requestTimeoutMs);
}

describe("proposals", () => {
  test("ReferenceWriter appends to any command what the decoder finds as its proposal", () => {
    const request = { $case: "leaseRevoke" as const, value: { ID: "-7" } };
    const command = Command.encode({ request, proposal: undefined }).finish();
    const source = { member: "18446744073709551615", start: 2 ** 40 };
    const references = new ReferenceWriter(source);
    for (const sequence of [1, 127, 128, 2 ** 31, 2 ** 50, 2 ** 53 - 1]) {
      const proposal = { ...source, sequence };
      expect(Command.decode(references.append(command, sequence))).toEqual({ request, proposal });
      const alone = references.append(new Uint8Array(0), sequence);
      expect(Command.decode(alone).proposal).toEqual(proposal);
    }
  });

  test("hand gives consensus what is queued, and resolve ends the right call", async () => {
    const calls = [1, 2].map((n) => proposals.add(new Uint8Array([n]), limits));
    const raft = leadingRaft();
    proposals.hand(raft);
    expect(proposals.hasQueued()).toBe(false);
    expect(raft.ready().append?.entries).toHaveLength(2);
    proposals.resolve(reference(2), none);
    expect(await calls[1]).toBe(none);
    expect(proposals.pendingCount()).toBe(1);
  });

  test("refused ends what was in those batches, and nothing else", async () => {
    const raft = lonelyRaft();
    follow(raft, 3);
    const [rejected, other] = [1, 2].map((n) => {
      const call = proposals.add(new Uint8Array([n]), limits);
      proposals.hand(raft);
      return call;
    }) as [Promise<Outcome>, Promise<Outcome>];
    const queued = proposals.add(new Uint8Array([3]), limits);
    const batches = raft.ready().messages.map((one) => (one.type === "propose" ? one.batch : 0));
    expect(batches).toEqual([1, 2]);
    proposals.refused([1]);
    expect(await refusalOf(rejected)).toBe("etcdserver: too many requests");
    expect(proposals.pendingCount()).toBe(2);
    proposals.resolve(reference(2), none);
    expect(await other).toBe(none);
    proposals.stop();
    expect(await refusalOf(queued)).toBe("etcdserver: server stopped");
  });

  test("a rejection that comes after a command was queued again is not its", async () => {
    const raft = lonelyRaft();
    follow(raft, 3);
    const call = proposals.add(new Uint8Array([1]), limits);
    proposals.hand(raft);
    proposals.applied(4);
    proposals.refused([1]);
    expect(proposals.pendingCount()).toBe(1);
    follow(raft, 4);
    proposals.hand(raft);
    proposals.refused([1]);
    expect(proposals.pendingCount()).toBe(1);
    proposals.refused([2]);
    expect(await refusalOf(call)).toBe("etcdserver: too many requests");
  });

  test("resolve passes over what another member, or an earlier start, proposed", () => {
    void proposals.add(new Uint8Array(1), limits);
    proposals.resolve({ ...reference(1), member: "2" }, none);
    proposals.resolve({ ...reference(1), start: 3 }, none);
    proposals.resolve(reference(77), none);
    expect(proposals.pendingCount()).toBe(1);
  });

  test("hand keeps the queue while there is no leader, and the deadline says it never left", async () => {
    const call = refusalOf(proposals.add(new Uint8Array(1), limits));
    proposals.hand(lonelyRaft());
    expect(proposals.hasQueued()).toBe(true);
    late();
    proposals.sweep(view({ leader: null }));
    expect(await call).toBe("etcdserver: no leader");
    expect(proposals.pendingCount()).toBe(0);
  });

  test.each<[string, LeaderView, string]>([
    ["its leader is there", view({ term: 5 }), "etcdserver: request timed out"],
    [
      "its leader is out of reach",
      view({ term: 5, reachable: false }),
      "etcdserver: request timed out, possibly due to connection lost",
    ],
    [
      "its leader is gone",
      view({ term: 5, leader: null }),
      "etcdserver: request timed out, possibly due to previous leader failure",
    ],
    [
      "another one leads",
      view({ term: 6 }),
      "etcdserver: request timed out, possibly due to previous leader failure",
    ],
  ])("sweep ends a sent call with an unknown fate while %s", async (_, seen, text) => {
    const call = refusalOf(proposals.add(new Uint8Array(1), limits));
    const raft = lonelyRaft();
    follow(raft, 5);
    proposals.hand(raft);
    late();
    proposals.sweep(seen);
    expect(await call).toBe(text);
  });

  test("applied queues again what an entry of a later term proves dead, in order, and only that", () => {
    const raft = lonelyRaft();
    follow(raft, 5);
    for (let i = 0; i < 3; i++) void proposals.add(new Uint8Array([i]), limits);
    proposals.hand(raft);
    proposals.applied(5);
    expect(proposals.hasQueued()).toBe(false);
    proposals.applied(6);
    expect(proposals.hasQueued()).toBe(true);
    follow(raft, 6);
    proposals.hand(raft);
    const sent = raft.ready().messages.flatMap((m) => (m.type === "propose" ? m.commands : []));
    expect(sent.map(([first]) => first)).toEqual([0, 1, 2]);
  });

  test("sweep forgets calls whose caller is gone, and hand does not send them", async () => {
    const caller = new AbortController();
    const call = refusalOf(
      proposals.add(new Uint8Array(1), { deadline: Infinity, signal: caller.signal }),
    );
    caller.abort();
    proposals.sweep(view());
    expect(await call).toBe("etcdserver: request canceled");
    const raft = leadingRaft();
    proposals.hand(raft);
    expect(raft.hasReady()).toBe(false);
  });

  test("add refuses what is too large, too many, and too much", async () => {
    const large = new Uint8Array(options.requestBytesMax + 1);
    await expect(proposals.add(large, limits)).rejects.toThrow("request is too large");
    const few = { ...options, proposalsPendingMax: 2 };
    proposals = new Proposals({ clock, identity }, few);
    for (let i = 0; i < 2; i++) void proposals.add(new Uint8Array(1), limits);
    await expect(proposals.add(new Uint8Array(1), limits)).rejects.toThrow("too many requests");
    proposals = new Proposals({ clock, identity }, { ...options, proposalBytesPendingMax: 100 });
    void proposals.add(new Uint8Array(60), limits);
    await expect(proposals.add(new Uint8Array(60), limits)).rejects.toThrow("too many requests");
  });

  test("hand cuts a long queue into pieces that one message can carry", () => {
    proposals = new Proposals({ clock, identity }, { ...options, proposeBytesMax: 500 });
    for (let i = 0; i < 10; i++) void proposals.add(new Uint8Array(200), limits);
    const raft = lonelyRaft();
    follow(raft, 5);
    proposals.hand(raft);
    const { messages } = raft.ready();
    expect(messages).toHaveLength(5);
    expect(proposals.hasQueued()).toBe(false);
  });

  test("stop tells what never left from what may still happen", async () => {
    const sent = refusalOf(proposals.add(new Uint8Array(1), limits));
    proposals.hand(leadingRaft());
    const queued = refusalOf(proposals.add(new Uint8Array(1), limits));
    proposals.stop();
    expect(await sent).toBe("etcdserver: request timed out");
    expect(await queued).toBe("etcdserver: server stopped");
  });
});
