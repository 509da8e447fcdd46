// The invariants of consensus between members, checked after every turn of every member and on
// every message as it leaves (reliability 3.5: I1 to I13, I22 to I24). Naive on purpose: it counts
// by hand and shares no code with the product beyond types.
//
// Cheap, because it checks what changed. Log matching is kept by induction: an entry is known by
// (index, term); when it is given to a disk, its bytes and the term before it must be those that it
// had everywhere else. So two logs with one term at an index are equal up to there, and every later
// question is a comparison of terms.
import { equalBytes } from "../../src/base/bytes.ts";
import type { Index, MemberId, Term } from "../../src/base/ids.ts";
import type { Entry, HardState } from "../../src/raft/entry.ts";
import type { HeartbeatMessage, Message } from "../../src/raft/message.ts";
import type { FollowerProgress } from "../../src/raft/raft.ts";
import type { LogAppend, RaftStatus } from "../../src/raft/ready.ts";
import { must } from "./violation.ts";

/** What is looked at of a member: its consensus, and what its disk holds now. */
export interface ObservedMember {
  readonly id: MemberId;
  disk(): { readonly hardState: HardState; readonly entries: readonly Entry[] };
  raft(): {
    status(): RaftStatus;
    progress(): readonly FollowerProgress[];
    checkInvariants(): void;
  };
}

/** An entry as it was first seen. */
interface Known {
  readonly previousTerm: Term;
  readonly data: Uint8Array;
}

/** What a member's log was given in this life, synced or not, and what was seen of it. */
interface View {
  /** Terms by index - 1. */
  readonly terms: Term[];
  commit: Index;
  leadsTerm: Term;
  readonly matches: Map<MemberId, Index>;
}

export class RaftInvariants {
  readonly #members: ReadonlyMap<MemberId, ObservedMember>;
  readonly #views = new Map<MemberId, View>();
  readonly #leaders = new Map<Term, MemberId>();
  /** By term: who voted for whom. */
  readonly #votes = new Map<Term, Map<MemberId, MemberId>>();
  /** By index - 1, then by term. */
  readonly #known: Map<Term, Known>[] = [];
  /** Terms of what is committed, by index - 1. */
  readonly #committed: Term[] = [];
  /** Highest index whose outcome some client may know. */
  #acknowledged: Index = 0;
  /** By term: the newest confirmation round that its leader sent to each. */
  readonly #rounds = new Map<Term, Map<MemberId, number>>();
  /** Read requests of followers: the lowest index that may answer. */
  readonly #readFloors = new Map<string, Index>();
  electionCount = 0;

  constructor(members: readonly ObservedMember[]) {
    this.#members = new Map(members.map((member) => [member.id, member]));
  }

  /** Highest index applied anywhere so far: a read that begins now must not be older. */
  acknowledged(): Index {
    return this.#acknowledged;
  }

  committedCount(): number {
    return this.#committed.length;
  }

  started(member: ObservedMember): void {
    const terms = member.disk().entries.map(({ term }) => term);
    this.#views.set(member.id, { terms, commit: 0, leadsTerm: 0, matches: new Map() });
  }

  /** I3, I6, I12, I13. */
  appending(member: ObservedMember, { entries }: LogAppend): void {
    const first = entries[0];
    if (first === undefined) return;
    const { terms } = this.#view(member);
    const { role } = member.raft().status();
    must(first.index <= terms.length + 1, "I3", () => `${member.id} leaves a gap`);
    must(
      role !== "leader" || first.index === terms.length + 1,
      "I6",
      () => `${member.id} leads and replaces ${first.index}`,
    );
    terms.length = first.index - 1;
    for (const entry of entries) {
      must(entry.kind === "normal", "I12", () => `a configuration is proposed at ${entry.index}`);
      this.#match(member, entry, terms.at(-1) ?? 0);
      terms.push(entry.term);
    }
  }

  #match(member: ObservedMember, { index, term, data }: Entry, previousTerm: Term): void {
    const known = (this.#known[index - 1] ??= new Map()).get(term);
    if (known === undefined) {
      this.#known[index - 1]?.set(term, { previousTerm, data });
      return;
    }
    const isSame = known.previousTerm === previousTerm && equalBytes(known.data, data);
    must(isSame, "I3", () => `${member.id} has another history at ${index} of term ${term}`);
  }

  /** I1, I2, I9, I23 and I24: what the sender's disk holds now must justify what it says. */
  sent(member: ObservedMember, message: Message): void {
    const { hardState, entries } = member.disk();
    const { term, from, to } = message;
    const line = () => `${message.type} from ${from} to ${to} in term ${term}`;
    // A pre-vote changes nothing: asked and granted is a term that nobody has entered.
    const isGranted = message.type === "preVoteResponse" && message.granted;
    const termNeeded = message.type === "preVote" ? term - 1 : isGranted ? 0 : term;
    must(
      hardState.term >= termNeeded,
      "I9",
      () => `${line()}: the disk is in term ${hardState.term}`,
    );
    // What a later term replaced on disk since was there when this was decided.
    const isCurrent = hardState.term === term;
    switch (message.type) {
      case "vote":
        this.#vote(term, from, from);
        must(!isCurrent || hardState.vote === from, "I9", () => `${line()}: own vote not on disk`);
        return;
      case "voteResponse":
        if (!message.granted) return;
        this.#vote(term, from, to);
        must(!isCurrent || hardState.vote === to, "I9", () => `${line()}: vote not on disk`);
        return;
      case "append":
        this.#leads(member, term);
        return;
      case "heartbeat":
        this.#leads(member, term);
        return this.#newRound(message, line);
      case "heartbeatResponse": {
        const isLeader = this.#leaders.get(term) === to;
        const sent = isLeader ? (this.#rounds.get(term)?.get(from) ?? 0) : 0;
        return must(message.round <= sent, "I24", () => `${line()}: round ${message.round}`);
      }
      case "appendResponse": {
        if (!isCurrent) return;
        const { match } = message;
        return must(entries.length >= match, "I9", () => `${line()}: ${match} is not on disk`);
      }
      case "readIndex": {
        const key = `${from}/${message.start}/${message.request}`;
        if (!this.#readFloors.has(key)) this.#readFloors.set(key, this.#acknowledged);
        return;
      }
      case "readIndexResponse": {
        const { index } = message;
        if (index === null) return;
        const floor = this.#readFloors.get(`${to}/${message.start}/${message.request}`) ?? 0;
        return must(index >= floor, "I23", () => `${line()}: ${index}, known was ${floor}`);
      }
      case "appendRejection":
      case "preVote":
      case "preVoteResponse":
      case "propose":
      case "proposeRejection":
    }
  }

  /** An entry was given to the machine of a member. */
  applied(member: ObservedMember, entry: Entry): void {
    const { index, term } = entry;
    this.#checkCommit(member, member.raft().status().commit);
    must(
      this.#committed[index - 1] === term,
      "I5",
      () => `${member.id} applies ${index} of term ${term}, which is not what was committed`,
    );
    must(
      member.disk().entries[index - 1]?.term === term,
      "I9",
      () => `${member.id} applies ${index}, which is not on its disk`,
    );
    this.#acknowledged = Math.max(this.#acknowledged, index);
  }

  turned(member: ObservedMember): void {
    const raft = member.raft();
    raft.checkInvariants();
    const status = raft.status();
    const { role, term } = status;
    const view = this.#view(member);
    if (role === "leader") {
      this.#leads(member, term);
      if (view.leadsTerm !== term) this.#promoted(member, view, term);
      this.#checkProgress(member, view, { status, progress: raft.progress() });
    }
    this.#checkCommit(member, status.commit);
  }

  /** I4 and I22. */
  #promoted(member: ObservedMember, view: View, term: Term): void {
    view.leadsTerm = term;
    view.matches.clear();
    this.electionCount += 1;
    // By log matching the newest speaks for all before it.
    for (const [rule, newest] of [
      ["I22", this.#acknowledged],
      ["I4", this.#committed.length],
    ] as const) {
      must(
        newest === 0 || view.terms[newest - 1] === this.#committed[newest - 1],
        rule,
        () => `${member.id} leads term ${term} without entry ${newest}`,
      );
    }
  }

  /** I10 and I11: what the leader believes is so, and what a majority has is committed. */
  #checkProgress(
    member: ObservedMember,
    view: View,
    told: { status: RaftStatus; progress: readonly FollowerProgress[] },
  ): void {
    const { progress } = told;
    const { term, commit, durable } = told.status;
    let isNews = view.matches.get(member.id) !== durable;
    for (const { member: id, match } of progress) {
      if (view.matches.get(id) === match) continue;
      isNews = true;
      view.matches.set(id, match);
      const disk = this.#members.get(id)?.disk();
      // A later leader may have cut the follower's log; this one can commit nothing any more.
      if (disk === undefined || disk.hardState.term > term || match === 0) continue;
      must(
        disk.entries[match - 1]?.term === view.terms[match - 1],
        "I10",
        () => `${member.id} believes that ${id} has ${match}`,
      );
    }
    if (!isNews) return;
    view.matches.set(member.id, durable);
    must(
      durable <= member.disk().entries.length,
      "I10",
      () => `${member.id} takes ${durable} for durable`,
    );
    const descending = [durable, ...progress.map(({ match }) => match)].sort((a, b) => b - a);
    const reached = descending[Math.floor(descending.length / 2)] as Index;
    must(
      commit >= reached || view.terms[reached - 1] !== term,
      "I11",
      () => `${member.id}: ${reached} is on a majority and not committed`,
    );
  }

  /** I5, I7 and I8. */
  #checkCommit(member: ObservedMember, commit: Index): void {
    const view = this.#view(member);
    if (commit === view.commit) return;
    must(commit > view.commit, "I7", () => `the commit index of ${member.id} fell to ${commit}`);
    view.commit = commit;
    const term = view.terms[commit - 1];
    must(term !== undefined, "I7", () => `${member.id} commits ${commit}, which it has not`);
    const known = this.#committed[commit - 1];
    if (known !== undefined) {
      must(known === term, "I5", () => `${member.id} commits another entry at ${commit}`);
      return;
    }
    const holders = [...this.#members.values()].filter(
      (holder) => holder.disk().entries[commit - 1]?.term === term,
    );
    must(
      holders.length * 2 > this.#members.size,
      "I7",
      () => `${member.id} commits ${commit}, on disk only at ${holders.map(({ id }) => id).join()}`,
    );
    must(
      this.#leaders.get(term) === member.id,
      "I8",
      () => `${member.id} commits ${commit} of term ${term}, which it did not lead`,
    );
    const newest = this.#committed.length;
    must(
      newest === 0 || view.terms[newest - 1] === this.#committed[newest - 1],
      "I5",
      () => `${member.id} commits ${commit} over another ${newest}`,
    );
    for (let index = newest; index < commit; index++) {
      this.#committed.push(view.terms[index] as Term);
    }
  }

  /** I1. */
  #leads(member: ObservedMember, term: Term): void {
    const known = this.#leaders.get(term);
    if (known === undefined) this.#leaders.set(term, member.id);
    else must(known === member.id, "I1", () => `${known} and ${member.id} lead term ${term}`);
  }

  /** I2, over all lives of the voter. */
  #vote(term: Term, voter: MemberId, candidate: MemberId): void {
    let votes = this.#votes.get(term);
    if (votes === undefined) this.#votes.set(term, (votes = new Map()));
    const known = votes.get(voter);
    if (known === undefined) votes.set(voter, candidate);
    else must(known === candidate, "I2", () => `${voter} votes twice in term ${term}`);
  }

  #newRound({ term, to, round }: HeartbeatMessage, line: () => string): void {
    let rounds = this.#rounds.get(term);
    if (rounds === undefined) this.#rounds.set(term, (rounds = new Map()));
    must(round > (rounds.get(to) ?? 0), "I24", () => `${line()}: round ${round} again`);
    rounds.set(to, round);
  }

  #view({ id }: ObservedMember): View {
    const view = this.#views.get(id);
    must(view !== undefined, "harness", () => `member ${id} never started`);
    return view;
  }
}
