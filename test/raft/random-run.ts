// One random life of a small cluster, named by its seed: loss, duplication, reorder, cuts, crashes
// that lose unsynced writes, slow disks; then a healing, after which everything must converge.
// Raft alone, without state machine or server: the simulator in test/sim has those.
import type { MemberId } from "../../src/base/ids.ts";
import { Prng } from "../../src/base/prng.ts";
import type { Message } from "../../src/raft/message.ts";
import { Ledger, Violation } from "./ledger.ts";
import { World } from "./world.ts";
import type { WorldMember } from "./world.ts";

const sizes = [1, 3, 5, 7] as const;

const lateMax = 50;

/** How likely, of each step. Different for each run, so that runs differ in kind. */
interface Weather {
  readonly lost: number;
  readonly doubled: number;
  readonly reordered: number;
  readonly crash: number;
  readonly cut: number;
  readonly sync: number;
  /** All members lose the leader at once, and several campaign. */
  readonly strife: number;
  /** The leader alone pauses, the others elect another, and then it is asked for a read. */
  readonly pause: number;
  /** Of answers to heartbeats and to forwarded reads: how many come much later. */
  readonly late: number;
  readonly stall: number;
}

export interface RandomRun {
  readonly voters: number;
  readonly counts: Ledger["counts"];
}

export function runRandom(seed: number, steps: number): RandomRun {
  const run = new Run(seed);
  for (let step = 0; step < steps; step++) run.step();
  run.heal();
  return { voters: run.world.configuration.voters.length, counts: run.ledger.counts };
}

class Run {
  readonly world: World;
  readonly ledger = new Ledger();
  readonly #prng: Prng;
  readonly #weather: Weather;
  /** Members that messages do not pass between; "a>b". */
  #cuts = new Set<string>();
  /** Answers on their way for long; they passed every cut before it came. At most lateMax. */
  readonly #late: Message[] = [];
  /** It takes no step, and its links are cut. */
  #paused: { readonly member: WorldMember; stepsLeft: number } | null = null;
  #lastRequest = 0;
  #lastCommand = 0;

  constructor(seed: number) {
    this.#prng = new Prng(seed, 1);
    const prng = this.#prng;
    this.#weather = {
      lost: prng.pick([0, 0.02, 0.2]),
      doubled: prng.pick([0, 0.05, 0.3]),
      reordered: prng.pick([0, 0.3, 1]),
      crash: prng.pick([0, 0.002, 0.01]),
      cut: prng.pick([0, 0.005, 0.02]),
      sync: prng.pick([0.1, 0.5, 1]),
      stall: prng.pick([0, 0.1, 0.5]),
      strife: prng.pick([0, 0.01, 0.05]),
      pause: prng.pick([0, 0.002, 0.01]),
      late: prng.pick([0, 0.2, 0.6]),
    };
    this.world = new World(
      {
        voters: sizes[seed % sizes.length] as number,
        learners: prng.below(2),
        seed,
        limits: {
          electionTicksMin: prng.pick([4, 10]),
          heartbeatTicks: prng.pick([1, 3]),
          appendBytesMax: prng.pick([1, 40, 1000]),
          inflightCountMax: prng.pick([1, 3, 16]),
          inflightBytesMax: prng.pick([1, 100, 10_000]),
          uncommittedBytesMax: prng.pick([50, 10_000]),
          tailBytesMax: prng.pick([1, 100, 10_000]),
          committedBytesMax: prng.pick([1, 100, 10_000]),
          readsPendingMax: prng.pick([1, 8]),
        },
      },
      this.ledger,
    );
    this.ledger.watch(this.world);
  }

  step(): void {
    const prng = this.#prng;
    const weather = this.#weather;
    if (this.#paused !== null) this.#maybeResume();
    else if (prng.chance(weather.pause)) this.#pauseLeader();
    else if (prng.chance(weather.cut)) this.#cut();
    else if (prng.chance(0.02)) this.#deliverLate();
    if (prng.chance(weather.strife)) this.#loseLeader();
    const member = prng.pick([...this.world.members.values()]);
    if (member === this.#paused?.member) return;
    if (member.raft === null) {
      if (prng.chance(0.1)) this.#restart(member);
      return;
    }
    if (prng.chance(weather.crash)) return this.#crash(member);
    if (prng.chance(weather.sync)) this.world.sync(member.id, prng.between(1, 3));
    if (prng.chance(0.5)) this.world.load(member.id);
    const action = prng.below(20);
    if (action < 6) this.#tick(member);
    else if (action < 8) this.#propose(member);
    else if (action < 11) this.#read(member);
    else if (action < 12) this.#disturb(member);
    const deliveries = prng.below(6);
    for (let i = 0; i < deliveries; i++) this.#deliverOne();
  }

  /** Everything works again: a leader, one log, every disk equal, nothing left in flight. */
  heal(): void {
    const { world } = this;
    this.#cuts.clear();
    for (const member of world.members.values()) {
      if (member.raft === null) this.#restart(member);
      member.raft?.diskStall("none");
    }
    world.settle();
    let leader: WorldMember | undefined;
    for (let ticks = 0; ticks < 500; ticks++) {
      leader = world.leader();
      if (ticks > 40 && leader !== undefined && this.#isConverged(leader)) break;
      for (const member of world.members.values()) {
        world.tick(member.id);
        world.settle();
      }
      if (ticks === 30 && leader !== undefined) this.#propose(leader);
    }
    if (leader === undefined) throw new Violation("liveness: no leader after the healing");
    if (!this.#isConverged(leader)) throw new Violation("liveness: the members do not converge");
    for (const { inflightCount, inflightBytes, member } of leader.raft?.progress() ?? []) {
      if (inflightCount + inflightBytes > 0) throw new Violation(`I18: in flight to ${member}`);
    }
  }

  #isConverged(leader: WorldMember): boolean {
    const last = leader.disk.log.last();
    return [...this.world.members.values()].every(
      ({ disk, applied }) =>
        applied === last &&
        disk.log.last() === last &&
        disk.log.hashAt(last) === leader.disk.log.hashAt(last),
    );
  }

  /** Sometimes many at a time, as after a stall: others were silent only for this member. */
  #tick(member: WorldMember): void {
    const count = this.#prng.chance(this.#weather.stall) ? this.#prng.between(2, 20) : 1;
    for (let left = count; left > 0; left--) this.world.tick(member.id);
  }

  #propose(member: WorldMember): void {
    const commands = Array.from({ length: this.#prng.between(1, 3) }, () => {
      const command = new Uint8Array(this.#prng.between(4, 30));
      new DataView(command.buffer).setUint32(0, ++this.#lastCommand);
      return command;
    });
    member.raft?.propose(commands, this.#lastCommand);
    // Sometimes more comes before the ready is taken.
    if (this.#prng.chance(0.7)) this.world.pump(member.id);
    else this.#read(member);
  }

  #read(member: WorldMember): void {
    const request = ++this.#lastRequest;
    this.ledger.asked(member, request);
    member.raft?.readIndex(request);
    this.world.pump(member.id);
    // Now an answer to an earlier question does most harm (etcd #20418).
    if (this.#prng.chance(0.5)) this.#deliverLate(member.id);
  }

  #disturb(member: WorldMember): void {
    const { raft } = member;
    if (raft === null) return;
    const other = this.#prng.pick([...this.world.members.keys()]);
    if (this.#prng.chance(0.2)) raft.leaderDisconnected(other);
    else if (this.#prng.chance(0.1)) raft.diskStall(this.#prng.pick(["half", "full"]));
    else raft.diskStall("none");
    this.world.pump(member.id);
  }

  #loseLeader(): void {
    for (const { id, raft } of this.world.members.values()) {
      const leader = raft?.status().leader ?? null;
      if (leader !== null) raft?.leaderDisconnected(leader);
      if (raft !== null) this.world.pump(id);
    }
  }

  #deliverOne(): void {
    const { network } = this.world;
    if (network.length === 0) return;
    const prng = this.#prng;
    const at = prng.chance(this.#weather.reordered) ? prng.below(network.length) : 0;
    const message = network[at] as Message;
    // A cut loses some, and holds others back till it is over.
    const isCut = this.#cuts.has(`${message.from}>${message.to}`);
    if (isCut && prng.chance(0.8)) return;
    // A doubled message stays in the network and comes again, maybe much later.
    if (!prng.chance(this.#weather.doubled)) network.splice(at, 1);
    if (network.length > 200) network.splice(prng.below(network.length), 1);
    if (isCut || prng.chance(this.#weather.lost)) return;
    const isAnswer = message.type === "heartbeatResponse" || message.type === "readIndexResponse";
    const isLate = isAnswer && this.#late.length < lateMax && prng.chance(this.#weather.late);
    if (isLate) this.#late.push(message);
    else this.world.deliver(message);
  }

  /** All late answers to this member, or one to anybody. */
  #deliverLate(to?: MemberId): void {
    if (this.#late.length === 0) return;
    const one = this.#prng.pick(this.#late);
    const arriving = this.#late.filter((late) =>
      to === undefined ? late === one : late.to === to,
    );
    for (const message of arriving) {
      this.#late.splice(this.#late.indexOf(message), 1);
      this.world.deliver(message);
    }
  }

  #pauseLeader(): void {
    const member = this.world.leader();
    if (member === undefined) return;
    this.#paused = { member, stepsLeft: this.#prng.between(50, 400) };
    this.#cuts.clear();
    for (const other of this.world.members.values()) {
      if (other === member) continue;
      this.#cuts.add(`${member.id}>${other.id}`);
      this.#cuts.add(`${other.id}>${member.id}`);
      other.raft?.leaderDisconnected(member.id);
      if (other.raft !== null) this.world.pump(other.id);
    }
  }

  /** What it believes is old; a read must not be answered from that. */
  #maybeResume(): void {
    const paused = this.#paused;
    if (paused === null || --paused.stepsLeft > 0) return;
    this.#paused = null;
    this.#read(paused.member);
  }

  #cut(): void {
    const prng = this.#prng;
    this.#cuts.clear();
    if (prng.chance(0.4)) return;
    const ids: MemberId[] = [...this.world.members.keys()];
    const side = new Set(ids.filter(() => prng.chance(0.5)));
    const isOneWay = prng.chance(0.3);
    for (const from of ids) {
      for (const to of ids) {
        const isAcross = isOneWay
          ? side.has(from) && !side.has(to)
          : side.has(from) !== side.has(to);
        if (isAcross && prng.chance(0.9)) this.#cuts.add(`${from}>${to}`);
      }
    }
  }

  #crash(member: WorldMember): void {
    this.world.crash(member.id, this.#prng.below(member.writes.length + 1));
    this.ledger.crashed(member);
  }

  #restart(member: WorldMember): void {
    const applied = this.#prng.chance(0.5) ? member.applied : this.#prng.below(member.applied + 1);
    this.world.restart(member.id, { applied, tailCount: this.#prng.pick([0, 2, 1000]) });
    this.world.pump(member.id);
  }
}
