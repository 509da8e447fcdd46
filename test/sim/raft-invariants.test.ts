// Each invariant of consensus is broken by hand, once, and must be named.
import { describe, expect, test } from "vitest";
import type { MemberId } from "../../src/base/ids.ts";
import type { Entry, HardState } from "../../src/raft/entry.ts";
import type { Message } from "../../src/raft/message.ts";
import type { RaftStatus } from "../../src/raft/ready.ts";
import { RaftInvariants } from "./raft-invariants.ts";
import type { ObservedMember } from "./raft-invariants.ts";

class FakeMember implements ObservedMember {
  readonly id: MemberId;
  hardState: HardState = { term: 1, vote: "1" as MemberId, commit: 0 };
  entries: Entry[] = [];
  now: RaftStatus;
  matches: [string, number][] = [];

  constructor(id: string) {
    this.id = id as MemberId;
    this.now = {
      id: this.id,
      role: "follower",
      term: 1,
      leader: null,
      commit: 0,
      last: 0,
      durable: 0,
    };
  }

  disk(): FakeMember {
    return this;
  }

  raft(): FakeMember {
    return this;
  }

  status(): RaftStatus {
    return this.now;
  }

  progress() {
    return this.matches.map(([member, match]) => ({
      member: member as MemberId,
      state: "replicate" as const,
      match,
      next: match + 1,
      inflightCount: 0,
      inflightBytes: 0,
    }));
  }

  checkInvariants(): void {}
}

function entry(index: number, term: number, text = "x"): Entry {
  return { index, term, kind: "normal", data: new TextEncoder().encode(text) };
}

function world() {
  const members = ["1", "2", "3"].map((id) => new FakeMember(id));
  const [one, two, three] = members as [FakeMember, FakeMember, FakeMember];
  const invariants = new RaftInvariants(members);
  for (const member of members) invariants.started(member);
  const write = (member: FakeMember, entries: Entry[], isSynced = true) => {
    invariants.appending(member, { hardState: null, entries });
    if (!isSynced) return;
    member.entries.length = (entries[0]?.index ?? 1) - 1;
    member.entries.push(...entries);
  };
  const lead = (member: FakeMember, status: Partial<RaftStatus> = {}) => {
    member.now = { ...member.now, role: "leader", ...status };
    invariants.turned(member);
  };
  const send = (from: FakeMember, message: Partial<Message>) => {
    const envelope = { from: from.id, to: two.id, term: 1 };
    invariants.sent(from, { ...envelope, ...message } as Message);
  };
  return { invariants, one, two, three, write, lead, send };
}

describe("RaftInvariants", () => {
  test("a quiet election and a commit break nothing", () => {
    const { invariants, one, two, write, lead, send } = world();
    send(one, { type: "vote", last: { term: 0, index: 0 } });
    lead(one);
    write(one, [entry(1, 1)]);
    write(two, [entry(1, 1)]);
    one.matches = [["2", 1]];
    lead(one, { durable: 1, commit: 1 });
    invariants.applied(one, entry(1, 1));
    expect(invariants.committedCount()).toBe(1);
    expect(invariants.acknowledged()).toBe(1);
  });

  test("I1: two members lead one term", () => {
    const { one, two, lead } = world();
    lead(one);
    expect(() => lead(two)).toThrow("I1");
  });

  test("I1: a member that only speaks as a leader counts", () => {
    const { one, two, lead, send } = world();
    lead(one);
    const append = { previous: { term: 0, index: 0 }, entries: [], commit: 0 };
    expect(() => send(two, { type: "append", ...append })).toThrow("I1");
  });

  test("I2: a vote changes, after a crash too", () => {
    const { invariants, one, send } = world();
    send(one, { type: "vote", last: { term: 0, index: 0 } });
    invariants.started(one);
    one.hardState = { term: 1, vote: "2" as MemberId, commit: 0 };
    expect(() => send(one, { type: "voteResponse", granted: true })).toThrow("I2");
  });

  test("I3: one place and term, two commands", () => {
    const { one, two, write } = world();
    write(one, [entry(1, 1, "a")]);
    expect(() => write(two, [entry(1, 1, "b")])).toThrow("I3");
  });

  test("I3: one entry, two histories before it", () => {
    const { one, two, write } = world();
    write(one, [entry(1, 1), entry(2, 2)]);
    write(two, [entry(1, 2)]);
    expect(() => write(two, [entry(2, 2)])).toThrow("I3");
  });

  test("I4 and I22: a leader lacks what was committed, or what was acknowledged", () => {
    const { invariants, one, two, three, write, lead } = world();
    write(one, [entry(1, 1)]);
    write(two, [entry(1, 1)]);
    lead(one, { commit: 1 });
    expect(() => lead(three, { term: 2 })).toThrow("I4");
    invariants.applied(one, entry(1, 1));
    expect(() => lead(three, { term: 3 })).toThrow("I22");
  });

  test("I5: another entry is applied where one was committed", () => {
    const { invariants, one, two, write, lead } = world();
    write(one, [entry(1, 1)]);
    write(two, [entry(1, 1)]);
    lead(one, { commit: 1 });
    expect(() => invariants.applied(two, entry(1, 2))).toThrow("I5");
  });

  test("I6: a leader replaces an entry of its own", () => {
    const { one, write, lead } = world();
    write(one, [entry(1, 1)]);
    lead(one);
    expect(() => write(one, [entry(1, 2)])).toThrow("I6");
  });

  test("I7: a commit index falls, or is on no majority's disks", () => {
    const { one, two, write, lead } = world();
    write(one, [entry(1, 1)]);
    write(two, [entry(1, 1)], false);
    expect(() => lead(one, { commit: 1 })).toThrow("I7");
    write(two, [entry(1, 1)]);
    const other = world();
    other.write(other.one, [entry(1, 1)]);
    other.write(other.two, [entry(1, 1)]);
    other.lead(other.one, { commit: 1 });
    expect(() => other.lead(other.one, { commit: 0 })).toThrow("I7");
  });

  test("I8: an entry of an earlier term is committed by counting", () => {
    const { one, two, write, lead } = world();
    write(one, [entry(1, 1)]);
    write(two, [entry(1, 1)]);
    expect(() => lead(one, { term: 2, commit: 1 })).toThrow("I8");
  });

  test("I9: a message relies on what is not on disk", () => {
    const { one, two, send } = world();
    const vote = { type: "vote" as const, last: { term: 0, index: 0 } };
    expect(() => send(one, { ...vote, term: 2 })).toThrow("I9");
    two.hardState = { term: 1, vote: null, commit: 0 };
    expect(() => send(two, { type: "voteResponse", granted: true })).toThrow("I9");
    expect(() => send(one, { type: "appendResponse", match: 1 })).toThrow("I9");
  });

  test("I9: an entry is applied that its member's disk does not hold", () => {
    const { invariants, one, two, three, write, lead } = world();
    write(one, [entry(1, 1)], false);
    write(two, [entry(1, 1)]);
    write(three, [entry(1, 1)]);
    lead(one, { commit: 1 });
    expect(() => invariants.applied(one, entry(1, 1))).toThrow("I9");
  });

  test("I10: a leader believes more than a follower has", () => {
    const { one, write, lead } = world();
    write(one, [entry(1, 1)]);
    one.matches = [["2", 1]];
    expect(() => lead(one, { durable: 1 })).toThrow("I10");
  });

  test("I11: a majority has an entry of this term, and it is not committed", () => {
    const { one, two, write, lead } = world();
    write(one, [entry(1, 1)]);
    write(two, [entry(1, 1)]);
    one.matches = [
      ["2", 1],
      ["3", 0],
    ];
    expect(() => lead(one, { durable: 1 })).toThrow("I11");
  });

  test("I23: a read is answered below what was applied when it was asked", () => {
    const { invariants, one, two, write, lead, send } = world();
    write(one, [entry(1, 1)]);
    write(two, [entry(1, 1)]);
    lead(one, { commit: 1 });
    invariants.applied(one, entry(1, 1));
    const read = { request: 7, start: 1 };
    send(two, { type: "readIndex", to: one.id, ...read });
    const answer = { type: "readIndexResponse" as const, ...read, index: 0 };
    expect(() => send(one, answer)).toThrow("I23");
  });

  test("I24: a round is used twice, or answered and never asked", () => {
    const { one, two, send } = world();
    send(one, { type: "heartbeat", round: 1, commit: 0 });
    expect(() => send(one, { type: "heartbeat", round: 1, commit: 0 })).toThrow("I24");
    const answer = { type: "heartbeatResponse" as const, to: one.id, round: 2 };
    expect(() => send(two, answer)).toThrow("I24");
  });
});
