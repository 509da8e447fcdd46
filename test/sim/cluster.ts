// A cluster in one process: the second place that assembles members. Real Raft, Machine, Node,
// handshake and checked store; below them the six seams in their simulated form: log and backend
// in memory, one clock, one network, a recording logger. One seed decides everything.
//
// Time stands still but for run() and until(). What survives a crash is in SimMember: the disk of
// the log and the place of the store.
import { assert } from "../../src/base/assert.ts";
import { Prng } from "../../src/base/prng.ts";
import { initialCluster } from "../../src/server/bootstrap.ts";
import { FakeClock } from "./fake-clock.ts";
import { SimMember } from "./sim-member.ts";
import type { ClusterOptions, SimLogLine, SimWorld } from "./sim-member.ts";
import { SimNetwork } from "./sim-network.ts";

export class SimCluster {
  readonly clock = new FakeClock();
  readonly network: SimNetwork;
  readonly members: readonly SimMember[];
  /** What ended a process that was not meant to end. */
  readonly fatals: unknown[] = [];
  readonly logged: SimLogLine[] = [];
  /** Sees each line as it is logged. */
  onLog: (line: SimLogLine) => void = () => {};
  /** Timers fired and turns taken. */
  eventCount = 0;

  private constructor(options: ClusterOptions) {
    this.network = new SimNetwork({ clock: this.clock, prng: new Prng(options.seed, 1) });
    const initial = initialCluster(
      Array.from({ length: options.size }, (_, i) => ({
        name: `m${i}`,
        peerUrls: [`http://10.0.0.${i}:2380`],
      })),
      "simulated",
    );
    const world: SimWorld = {
      clock: this.clock,
      network: this.network,
      initial,
      options,
      result: (call) => this.result(call),
      logged: (line) => {
        this.logged.push(line);
        this.onLog(line);
      },
      fatal: (error) => this.fatals.push(error),
    };
    this.members = initial.members.map(
      ({ id }, i) => new SimMember(world, { id, seed: options.seed + i }),
    );
    const { observer } = options;
    if (observer === undefined) return;
    const byId = new Map(this.members.map((member) => [member.id, member]));
    this.network.sent = (message) => observer.sent(byId.get(message.from) as SimMember, message);
  }

  /** With no member started. */
  static create(options: ClusterOptions): SimCluster {
    return new SimCluster(options);
  }

  /** With every member started; no time has passed. */
  static async start(options: ClusterOptions): Promise<SimCluster> {
    const cluster = new SimCluster(options);
    for (const member of cluster.members) await member.start();
    return cluster;
  }

  /** Lets time pass; everything that it brings about is done. */
  async run(ms: number): Promise<void> {
    await this.runTo(this.clock.now() + ms, () => false);
  }

  /** Lets time pass until the condition holds, asked before each event, or `end`; true: it holds. */
  async runTo(end: number, condition: () => boolean): Promise<boolean> {
    let isReached = false;
    await eachAlone(() => {
      isReached = condition();
      return !isReached && this.#fireNext(end);
    });
    if (isReached) return true;
    this.clock.moveTo(end);
    return condition();
  }

  /** The next thing that happens before `end`; false: none. */
  #fireNext(end: number): boolean {
    const { clock } = this;
    if (clock.hasSoon()) clock.runSoon();
    else if (clock.nextAt() <= end) clock.fireNext();
    else return false;
    this.eventCount += 1;
    return true;
  }

  /** Lets time pass until the condition holds; returns how much did. */
  async until(condition: () => boolean, limitMs = 20_000): Promise<number> {
    const start = this.clock.now();
    await this.run(0);
    const isReached = await this.runTo(start + limitMs, condition);
    assert(isReached, `not within ${limitMs} ms: ${String(condition)}`);
    return this.clock.now() - start;
  }

  /** Lets time pass until the call ends. */
  async result<T>(call: Promise<T>, limitMs = 20_000): Promise<T> {
    let isOver = false;
    const end = () => (isOver = true);
    call.then(end, end);
    await this.until(() => isOver, limitMs);
    return call;
  }

  running(): SimMember[] {
    return this.members.filter((member) => member.isRunning());
  }

  /** The one that leads the highest term. */
  leader(): SimMember | null {
    const leading = this.running().filter((member) => member.node().status().role === "leader");
    leading.sort((left, right) => right.node().status().term - left.node().status().term);
    return leading[0] ?? null;
  }

  /** Waits until one leads, and has applied the entry that opened its term. */
  async elected(): Promise<SimMember> {
    await this.until(() => {
      const status = this.leader()?.node().status();
      return status !== undefined && status.commit > 0 && status.applied === status.commit;
    });
    return this.leader() as SimMember;
  }

  followers(): SimMember[] {
    const leader = this.leader();
    return this.running().filter((member) => member !== leader);
  }

  /** A majority moves on, and everyone running has the same state. */
  async converged(limitMs = 20_000): Promise<void> {
    await this.until(() => {
      const states = this.running().map((member) => {
        const { applied, commit, leader } = member.node().status();
        return leader === null || applied < commit
          ? null
          : `${applied} ${member.node().machine.mvcc.summary().digest}`;
      });
      return states[0] !== null && states.every((state) => state === states[0]);
    }, limitMs);
  }
}

/** Immediates asked for at a time. */
const batchMax = 512;

/**
 * Calls `step` until it returns false, each time as an immediate of its own: between two of them
 * Node runs every promise that is due, and what that brings, as between any two callbacks of a
 * real process. A synchronous loop with an await in each round does the same at several times the
 * cost.
 */
function eachAlone(step: () => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    let isOver = false;
    const one = () => {
      if (isOver) return;
      let error: unknown = null;
      try {
        if (step()) return;
      } catch (thrown) {
        error = thrown;
      }
      isOver = true;
      if (error === null) resolve();
      else reject(error);
    };
    const batch = () => {
      if (isOver) return;
      for (let i = 0; i < batchMax; i++) setImmediate(one);
      setImmediate(batch);
    };
    batch();
  });
}
