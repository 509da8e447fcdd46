// Several rafts in one world: a network that is a list of messages, disks that are lists of
// writes, and nothing that happens by itself. Transcripts, paper tests and the random test all
// drive this; it decides nothing and checks nothing beyond what a disk must.
//
//   raft --ready--> writes (in order) --sync--> disk, then messagesAfterSync --> network
//                   messages ------------------------------------------------> network
import { assert } from "../../src/base/assert.ts";
import type { Index, MemberId } from "../../src/base/ids.ts";
import type { RaftConfig } from "../../src/raft/config.ts";
import type { Configuration, Entry, HardState } from "../../src/raft/entry.ts";
import type { Message } from "../../src/raft/message.ts";
import { Raft } from "../../src/raft/raft.ts";
import type { EntriesWanted, LogAppend, ReadConfirmed, Ready } from "../../src/raft/ready.ts";

export type RaftLimits = Omit<RaftConfig, "id" | "start" | "seed">;

export const limitsDefault: RaftLimits = {
  electionTicksMin: 10,
  heartbeatTicks: 2,
  appendBytesMax: 1 << 20,
  inflightCountMax: 64,
  inflightBytesMax: 4 << 20,
  uncommittedBytesMax: 1 << 20,
  tailBytesMax: 1 << 20,
  committedBytesMax: 1 << 20,
  readsPendingMax: 64,
};

/** A log with the hash of the whole prefix at each index: equal hashes, equal histories. */
export class HashedLog {
  readonly entries: Entry[] = [];
  readonly #hashes: number[] = [0];

  last(): Index {
    return this.entries.length;
  }

  at(index: Index): Entry {
    const entry = this.entries[index - 1];
    assert(entry?.index === index, `no entry at ${index}`);
    return entry;
  }

  /** Undefined beyond the end. */
  hashAt(index: Index): number | undefined {
    return this.#hashes[index];
  }

  append(entries: readonly Entry[]): void {
    for (const entry of entries) {
      assert(entry.index >= 1 && entry.index <= this.last() + 1, "a gap in the log");
      this.entries.length = entry.index - 1;
      this.#hashes.length = entry.index;
      let hash = Math.imul(this.#hashes[entry.index - 1] as number, 31) ^ (entry.term * 0x9e3779b9);
      for (const byte of entry.data) hash = Math.imul(hash ^ byte, 0x01000193);
      this.entries.push(entry);
      this.#hashes.push(hash | 0);
    }
  }
}

interface Write {
  readonly sync: number;
  readonly append: LogAppend;
  readonly after: readonly Message[];
}

export interface WorldMember {
  readonly id: MemberId;
  /** Null: crashed. */
  raft: Raft | null;
  start: number;
  /** The log as given to the disk: what the raft has in memory once its readies are taken. */
  written: HashedLog;
  /** What survives a crash. */
  disk: { hardState: HardState; log: HashedLog };
  writes: Write[];
  loads: EntriesWanted[];
  applied: Index;
}

/** What the world tells as it happens. */
export interface WorldObserver {
  /** A message leaves now; the disk of its sender is as it is. */
  sent?(member: WorldMember, message: Message): void;
  /** Its entries are given to the disk; nothing has left and nothing is applied. */
  taken?(member: WorldMember, ready: Ready): void;
  /** Nothing is left to take. */
  pumped?(member: WorldMember): void;
  applied?(member: WorldMember, entry: Entry): void;
  read?(member: WorldMember, read: ReadConfirmed): void;
}

export class World {
  readonly members = new Map<MemberId, WorldMember>();
  readonly configuration: Configuration;
  /** In flight, oldest first. */
  network: Message[] = [];
  readonly #limits: RaftLimits;
  readonly #seed: number;
  readonly #observer: WorldObserver;

  constructor(
    shape: { voters: number; learners?: number; seed?: number; limits?: Partial<RaftLimits> },
    observer: WorldObserver = {},
  ) {
    this.#limits = { ...limitsDefault, ...shape.limits };
    this.#seed = shape.seed ?? 1;
    this.#observer = observer;
    const count = shape.voters + (shape.learners ?? 0);
    const ids = Array.from({ length: count }, (_, i) => String(i + 1) as MemberId);
    this.configuration = {
      voters: ids.slice(0, shape.voters),
      learners: ids.slice(shape.voters),
    };
    for (const id of ids) {
      const disk = { hardState: { term: 0, vote: null, commit: 0 }, log: new HashedLog() };
      this.members.set(id, {
        id,
        raft: null,
        start: 0,
        written: new HashedLog(),
        disk,
        writes: [],
        loads: [],
        applied: 0,
      });
      this.restart(id);
    }
  }

  member(id: string): WorldMember {
    const member = this.members.get(id as MemberId);
    assert(member !== undefined, `no member ${id}`);
    return member;
  }

  raft(id: string): Raft {
    const { raft } = this.member(id);
    assert(raft !== null, `member ${id} is down`);
    return raft;
  }

  /** Takes readies until there is none. Messages join the network; writes wait for sync. */
  pump(id: string): void {
    const member = this.member(id);
    const raft = this.raft(id);
    while (raft.hasReady()) {
      const ready = raft.ready();
      if (ready.append !== null) {
        member.written.append(ready.append.entries);
        const { append, sync, messagesAfterSync: after } = ready;
        member.writes.push({ sync, append, after });
      } else {
        assert(ready.messagesAfterSync.length === 0, "messages wait for a write that is none");
      }
      this.#observer.taken?.(member, ready);
      this.#send(member, ready.messages);
      member.loads.push(...ready.wanted);
      for (const entry of ready.committed) {
        assert(entry.index === member.applied + 1, `applies ${entry.index} out of order`);
        member.applied = entry.index;
        this.#observer.applied?.(member, entry);
      }
      if (ready.committed.length > 0) raft.applied(member.applied);
      for (const read of ready.reads) this.#observer.read?.(member, read);
    }
    this.#observer.pumped?.(member);
  }

  /** Syncs the oldest `count` writes as one. */
  sync(id: string, count = Infinity): void {
    const member = this.member(id);
    const writes = member.writes.splice(0, count);
    const newest = writes.at(-1);
    if (newest === undefined) return;
    for (const write of writes) this.#persist(member, write.append);
    for (const write of writes) this.#send(member, write.after);
    this.raft(id).synced(newest.sync);
    this.pump(id);
  }

  /** Answers what was asked from disk. */
  load(id: string): void {
    const member = this.member(id);
    for (const wanted of member.loads.splice(0)) {
      const entries: Entry[] = [];
      let bytes = 0;
      for (let index = wanted.first; index <= wanted.last; index++) {
        const entry = member.disk.log.at(index);
        bytes += entry.data.length;
        if (entries.length > 0 && bytes > wanted.bytesMax) break;
        entries.push(entry);
      }
      this.raft(id).entriesLoaded(wanted, entries);
    }
    this.pump(id);
  }

  /** Hands a message over; to a member that is down it is lost. */
  deliver(message: Message): void {
    const { raft } = this.member(message.to);
    if (raft === null) return;
    raft.step(message);
    this.pump(message.to);
  }

  tick(id: string): void {
    this.raft(id).tick();
    this.pump(id);
  }

  /** Of the unsynced writes the oldest `kept` reached the disk all the same. */
  crash(id: string, kept = 0): void {
    const member = this.member(id);
    for (const write of member.writes.slice(0, kept)) this.#persist(member, write.append);
    member.writes = [];
    member.loads = [];
    member.raft = null;
  }

  /** `tailCount`: entries in memory beyond those above commit; `applied`: what the machine kept. */
  restart(id: string, options: { tailCount?: number; applied?: Index } = {}): void {
    const member = this.member(id);
    const { hardState, log } = member.disk;
    member.start++;
    member.written = new HashedLog();
    member.written.append(log.entries);
    member.applied = Math.min(options.applied ?? member.applied, log.last());
    const commit = Math.max(hardState.commit, member.applied);
    const tailFirst = Math.max(1, commit + 1 - (options.tailCount ?? Infinity));
    const config = {
      ...this.#limits,
      id: member.id,
      start: member.start,
      seed: this.#seed + 7919 * member.start,
    };
    member.raft = new Raft(config, {
      hardState,
      configuration: this.configuration,
      tail: log.entries.slice(tailFirst === log.last() + 1 ? log.last() - 1 : tailFirst - 1),
      termBeforeTail: log.entries[Math.min(tailFirst, log.last()) - 2]?.term ?? 0,
      firstIndex: 1,
      applied: member.applied,
    });
  }

  /** Syncs, loads and delivers until nothing moves. `isCut` loses messages. */
  settle(isCut: (message: Message) => boolean = () => false): void {
    for (let rounds = 0; rounds < 20_000; rounds++) {
      let isQuiet = true;
      for (const member of this.members.values()) {
        if (member.raft === null) continue;
        this.pump(member.id);
        if (member.writes.length + member.loads.length > 0) isQuiet = false;
        this.sync(member.id);
        this.load(member.id);
      }
      const messages = this.network;
      this.network = [];
      if (isQuiet && messages.length === 0) return;
      for (const message of messages) if (!isCut(message)) this.deliver(message);
    }
    assert(false, "the world does not settle");
  }

  /** Ticks one member until it asks for votes. */
  campaign(id: string): void {
    const raft = this.raft(id);
    const { role } = raft.status();
    assert(role !== "leader", `${id} leads already`);
    const { electionTicksMin } = this.#limits;
    for (let ticks = 0; ticks < 2 * electionTicksMin; ticks++) {
      const sentBefore = this.network.length;
      this.tick(id);
      if (this.network.length > sentBefore || raft.status().role !== "follower") return;
    }
  }

  leader(): WorldMember | undefined {
    let leader: WorldMember | undefined;
    let newest = 0;
    for (const member of this.members.values()) {
      const status = member.raft?.status();
      if (status?.role !== "leader" || status.term < newest) continue;
      leader = member;
      newest = status.term;
    }
    return leader;
  }

  #send(member: WorldMember, messages: readonly Message[]): void {
    for (const message of messages) {
      this.#observer.sent?.(member, message);
      this.network.push(message);
    }
  }

  #persist(member: WorldMember, append: LogAppend): void {
    if (append.hardState !== null) member.disk.hardState = append.hardState;
    member.disk.log.append(append.entries);
  }
}
