// Remembers all that ever happened in a world and objects when two facts contradict each other:
// the invariants between members (reliability I1 to I11, I23, I24) that no member can see alone.
// Naive on purpose: maps, sets and counting by hand, no code of the product.
import { assert } from "../../src/base/assert.ts";
import type { Index, MemberId, Term } from "../../src/base/ids.ts";
import type { Entry } from "../../src/raft/entry.ts";
import type { Message } from "../../src/raft/message.ts";
import type { ReadConfirmed, Ready } from "../../src/raft/ready.ts";
import type { World, WorldMember, WorldObserver } from "./world.ts";

/** An invariant between members is broken. */
export class Violation extends Error {
  override readonly name = "Violation";
}

/** What went wrong is worded only when it did. */
function must(condition: boolean, rule: string, what: () => string): asserts condition {
  if (!condition) throw new Violation(`${rule}: ${what()}`);
}

export class Ledger implements WorldObserver {
  readonly #leaders = new Map<Term, MemberId>();
  readonly #votes = new Map<string, MemberId>();
  /** Prefix hash by index and term. */
  readonly #histories = new Map<string, number>();
  /** Prefix hash of what was committed, by index. */
  readonly #committed: number[] = [0];
  /** Highest index applied anywhere: what clients may know. */
  #acked: Index = 0;
  /** Read requests under way: the lowest index that may answer. */
  readonly #readFloors = new Map<string, Index>();
  readonly #rounds = new Map<string, number>();
  readonly #commits = new Map<MemberId, Index>();
  /** Prefix hash of each member's log when its history was checked. */
  readonly #newest = new Map<MemberId, number>();
  readonly #leading = new Map<MemberId, Term>();
  #world: World | null = null;

  /** What went by, so that a test can tell that something happened at all. */
  readonly counts = { committed: 0, elections: 0, reads: 0, crashes: 0 };

  watch(world: World): void {
    this.#world = world;
  }

  asked(member: WorldMember, request: number): void {
    this.#readFloors.set(`${member.id}/${member.start}/${request}`, this.#acked);
  }

  read(member: WorldMember, read: ReadConfirmed): void {
    const key = `${member.id}/${member.start}/${read.request}`;
    const floor = this.#readFloors.get(key);
    must(floor !== undefined, "I24", () => `read ${key} was answered twice, or never asked`);
    must(
      read.index >= floor,
      "I23",
      () => `read ${key} at ${read.index}, but ${floor} was acknowledged`,
    );
    this.#readFloors.delete(key);
    this.counts.reads++;
  }

  crashed(member: WorldMember): void {
    this.#commits.delete(member.id);
    this.#leading.delete(member.id);
    this.counts.crashes++;
  }

  taken(member: WorldMember, ready: Ready): void {
    if (ready.committed.length > 0) this.#check(member);
    for (const request of ready.readsFailed) {
      this.#readFloors.delete(`${member.id}/${member.start}/${request}`);
    }
  }

  applied(member: WorldMember, entry: Entry): void {
    const hash = member.disk.log.hashAt(entry.index);
    must(
      hash !== undefined,
      "I9",
      () => `${member.id} applies ${entry.index}, which is not on its disk`,
    );
    const { index } = entry;
    must(
      index < this.#committed.length,
      "I5",
      () => `${member.id} applies ${index}, not committed`,
    );
    must(
      hash === this.#committed[index],
      "I5",
      () => `${member.id} applies another entry at ${index}`,
    );
    this.#acked = Math.max(this.#acked, index);
  }

  /** I2, I9 and I24: each message is justified by its sender's disk at the moment it leaves. */
  sent(member: WorldMember, message: Message): void {
    const { hardState, log } = member.disk;
    const { term, from, to, type } = message;
    const isGrantedAhead = type === "preVoteResponse" && message.granted;
    const termNeeded = type === "preVote" || isGrantedAhead ? term - 1 : term;
    const line = (): string => `${type} from ${from} in term ${term}`;
    if (!isGrantedAhead)
      must(hardState.term >= termNeeded, "I9", () => `${line()}: term not on disk`);
    if (type === "vote") this.#vote(term, from, from);
    if (type === "voteResponse" && message.granted) this.#vote(term, from, to);
    // A later term may have replaced vote and entries on disk since; what it says was true then.
    if (hardState.term !== term) return;
    if (type === "vote")
      must(hardState.vote === from, "I9", () => `${line()}: own vote not on disk`);
    if (type === "voteResponse" && message.granted) {
      must(hardState.vote === to, "I9", () => `${line()}: vote not on disk`);
    }
    if (type === "append" || type === "heartbeat") {
      must(hardState.vote === from, "I9", () => `${line()}: leads without its own vote`);
    }
    if (type === "appendResponse") {
      must(log.last() >= message.match, "I9", () => `${line()}: ${message.match} is not on disk`);
    }
    if (type === "heartbeat") {
      const key = `${from}>${to}/${term}`;
      must(
        message.round > (this.#rounds.get(key) ?? 0),
        "I24",
        () => `${line()}: round used twice`,
      );
      this.#rounds.set(key, message.round);
    }
  }

  pumped(member: WorldMember): void {
    this.#check(member);
  }

  /** What must hold now, whatever happened to `member`. */
  #check(member: WorldMember): void {
    const { raft } = member;
    if (raft === null) return;
    raft.checkInvariants();
    const { role, term, commit, last } = raft.status();
    must(last === member.written.last(), "log", () => `${member.id} keeps entries from its disk`);
    this.#checkHistory(member, last);
    if (role === "leader") this.#checkLeader(member, term);
    else this.#leading.delete(member.id);
    this.#checkCommit(member, commit);
  }

  /** I3: entries of one index and term have one history. */
  #checkHistory(member: WorldMember, last: Index): void {
    const newest = member.written.hashAt(last);
    if (newest === undefined || this.#newest.get(member.id) === newest) return;
    this.#newest.set(member.id, newest);
    // Older ones were newest once, unless many came at a time.
    for (let index = Math.max(1, last - 8); index <= last; index++) {
      const key = `${index}/${member.written.at(index).term}`;
      const hash = member.written.hashAt(index) as number;
      const known = this.#histories.get(key);
      must(known === undefined || known === hash, "I3", () => `two histories at index/term ${key}`);
      this.#histories.set(key, hash);
    }
  }

  #checkLeader(member: WorldMember, term: Term): void {
    const known = this.#leaders.get(term);
    must(
      known === undefined || known === member.id,
      "I1",
      () => `${known} and ${member.id} in ${term}`,
    );
    this.#leaders.set(term, member.id);
    if (this.#leading.get(member.id) !== term) {
      this.#leading.set(member.id, term);
      this.counts.elections++;
      const newest = this.#committed.length - 1;
      const isComplete = member.written.hashAt(newest) === this.#committed[newest];
      must(isComplete, "I4", () => `${member.id} leads term ${term} without ${newest}`);
    }
    this.#checkProgress(member, term);
  }

  /** I10, I11. */
  #checkProgress(member: WorldMember, term: Term): void {
    const world = this.#world;
    const raft = member.raft;
    assert(world !== null && raft !== null, "not watching");
    const matches = new Map<MemberId, Index>([[member.id, raft.status().durable]]);
    must(
      raft.status().durable <= member.disk.log.last(),
      "I10",
      () => `${member.id} is not so durable`,
    );
    for (const { member: id, match } of raft.progress()) {
      matches.set(id, match);
      const follower = world.member(id).disk;
      // A later leader may have cut the follower's log; this one can commit nothing any more.
      if (follower.hardState.term > term) continue;
      const isSame = follower.log.hashAt(match) === member.written.hashAt(match);
      must(isSame, "I10", () => `${member.id} believes that ${id} has ${match}`);
    }
    const { voters } = world.configuration;
    for (const index of matches.values()) {
      const count = voters.filter((id) => (matches.get(id) ?? 0) >= index).length;
      const isCommitted = count * 2 > voters.length && index > 0;
      if (!isCommitted || member.written.at(index).term !== term) continue;
      must(
        raft.status().commit >= index,
        "I11",
        () => `${index} is on a majority, and not committed`,
      );
    }
  }

  /** I7, I8, and what is committed stays what it is. */
  #checkCommit(member: WorldMember, commit: Index): void {
    const world = this.#world;
    const status = member.raft?.status();
    assert(world !== null && status !== undefined, "not watching");
    const before = this.#commits.get(member.id);
    must(commit >= (before ?? 0), "I7", () => `the commit index of ${member.id} fell to ${commit}`);
    if (commit === before) return;
    this.#commits.set(member.id, commit);
    const hash = member.written.hashAt(commit);
    must(hash !== undefined, "I7", () => `${member.id} committed more than it has`);
    const newest = this.#committed.length - 1;
    if (commit <= newest) {
      must(
        hash === this.#committed[commit],
        "I5",
        () => `${member.id} committed another ${commit}`,
      );
      return;
    }
    const { voters } = world.configuration;
    const holders = voters.filter((id) => world.member(id).disk.log.hashAt(commit) === hash);
    must(
      holders.length * 2 > voters.length,
      "I7",
      () => `${commit} is on the disks of ${holders.join()}`,
    );
    must(
      status.role === "leader",
      "I7",
      () => `${member.id} commits ${commit} before any leader did`,
    );
    must(
      member.written.at(commit).term === status.term,
      "I8",
      () => `${commit} is of an earlier term`,
    );
    must(
      member.written.hashAt(newest) === this.#committed[newest],
      "I5",
      () => `${newest} was replaced`,
    );
    for (let index = newest + 1; index <= commit; index++) {
      this.#committed.push(member.written.hashAt(index) as number);
    }
    this.counts.committed = commit;
  }

  #vote(term: Term, voter: MemberId, candidate: MemberId): void {
    const key = `${term}/${voter}`;
    const known = this.#votes.get(key);
    must(known === undefined || known === candidate, "I2", () => `${voter} voted twice in ${term}`);
    this.#votes.set(key, candidate);
  }
}
