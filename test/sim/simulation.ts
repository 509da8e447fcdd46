// One run, named by its seed: a cluster of real members under a workload and a nemesis, with every
// checker looking on. First safety, at least thirty simulated seconds of it; then liveness: all is
// healed, and within a bounded time everyone agrees, writes succeed through every member, watches
// have everything and leases are over. Whatever is wrong is one Violation.
import { AssertionError } from "../../src/base/assert.ts";
import { Prng } from "../../src/base/prng.ts";
import type { Entry } from "../../src/raft/entry.ts";
import type { Message } from "../../src/raft/message.ts";
import type { LogAppend } from "../../src/raft/ready.ts";
import type { AppliedEntry } from "../../src/state/outcome.ts";
import { ClientLink } from "./client-link.ts";
import { SimCluster } from "./cluster.ts";
import { CommittedLog } from "./committed-log.ts";
import { History } from "./history.ts";
import { LeaseValidator } from "./lease-validator.ts";
import { Nemesis } from "./nemesis.ts";
import { RaftInvariants } from "./raft-invariants.ts";
import { checkRegister } from "./register.ts";
import { keyCount } from "./requests.ts";
import { driftMax, swarmOf } from "./swarm.ts";
import type { FaultKind, Swarm } from "./swarm.ts";
import type { ClusterObserver, SimMember } from "./sim-member.ts";
import { must, Violation } from "./violation.ts";
import { WatchClients } from "./watch-client.ts";
import { Workload } from "./workload.ts";

export interface SimulationOptions {
  readonly seed: number;
  /** Null: the seed says. */
  readonly size: number | null;
  /** Sees what happens, for replays. */
  readonly note?: (at: number, what: string) => void;
}

export interface SimulationReport {
  readonly seed: number;
  readonly swarm: Swarm;
  readonly events: number;
  /** Of the safety phase. */
  readonly simulatedMs: number;
  readonly faults: ReadonlyMap<FaultKind, number>;
  readonly operations: number;
  readonly answered: number;
  readonly committed: number;
  readonly elections: number;
  readonly watchEvents: number;
  readonly leaseExpiries: number;
  /** Histories that the search gave up on. */
  readonly unknownHistories: number;
  /** Of everything that was committed, at the times when it was. */
  readonly eventHash: string;
  readonly violation: Violation | null;
}

const safetyMs = 30_000;
/** After the healing: until all calls have ended, until a put succeeds, until all is quiet. */
const callsMs = 15_000;
const writeMs = 15_000;
const livenessMs = 30_000;
/** Simulated time between two looks at what is waited for. */
const lookMs = 50;

export async function simulate(options: SimulationOptions): Promise<SimulationReport> {
  const simulation = await Simulation.start(options);
  let violation: Violation | null = null;
  try {
    await simulation.safety();
    await simulation.liveness();
    simulation.judge();
  } catch (error) {
    violation = violationOf(error);
  }
  return simulation.report(violation);
}

class Simulation {
  readonly #seed: number;
  readonly #swarm: Swarm;
  readonly #cluster: SimCluster;
  readonly #clients: ClientLink;
  readonly #invariants: RaftInvariants;
  readonly #log: CommittedLog;
  readonly #history: History;
  readonly #leases: LeaseValidator;
  readonly #watches: WatchClients;
  readonly #workload: Workload;
  readonly #nemesis: Nemesis;
  readonly #failures: unknown[];
  readonly #note: (what: string) => void;
  #unknownHistories = 0;
  #safetyEnd = 0;

  private constructor(
    options: SimulationOptions,
    parts: { swarm: Swarm; cluster: SimCluster; watcher: Watcher },
  ) {
    const { seed, note } = options;
    const { swarm, cluster, watcher } = parts;
    const now = () => cluster.clock.now();
    this.#seed = seed;
    this.#swarm = swarm;
    this.#cluster = cluster;
    this.#failures = [];
    this.#note = (what) => note?.(now(), what);
    this.#clients = new ClientLink({ cluster, prng: new Prng(seed, 103) });
    this.#clients.loss = swarm.clientLoss;
    this.#invariants = new RaftInvariants(cluster.members);
    this.#log = new CommittedLog(now);
    this.#history = new History(this.#log, now);
    this.#leases = new LeaseValidator(this.#log, { rateMax: 1 + driftMax });
    this.#watches = new WatchClients(
      { cluster, clients: this.#clients, log: this.#log, prng: new Prng(seed, 104) },
      { keyCount },
    );
    const { valueBytesMax } = swarm;
    this.#workload = new Workload(
      {
        cluster,
        clients: this.#clients,
        log: this.#log,
        history: this.#history,
        leases: this.#leases,
        watches: this.#watches,
        failed: (error) => this.#failures.push(error),
      },
      { seed, valueBytesMax },
    );
    this.#nemesis = new Nemesis(
      { cluster, clients: this.#clients, note: this.#note },
      { seed, swarm },
    );
    cluster.onLog = ({ member, message, fields }) => {
      if (note !== undefined) this.#note(`${member}: ${message} ${JSON.stringify(fields)}`);
    };
    watcher.attach(this.#invariants, this.#log, this.#clients);
  }

  static async start(options: SimulationOptions): Promise<Simulation> {
    const { seed, size } = options;
    const swarm = swarmOf(seed, size);
    const watcher = new Watcher();
    const delays = new Prng(seed, 105);
    const fraction = () => delays.uint32() / 0x100000000;
    const { heartbeatMs, electionMs, raft, watchHub, storeWriteMsMax, turnMsMax } = swarm;
    const cluster = SimCluster.create({
      size: swarm.size,
      seed,
      heartbeatMs,
      electionMs,
      raft,
      watchHub,
      options: swarm.options,
      observer: watcher,
      delays: {
        storeWriteMs: () => (storeWriteMsMax === 0 ? 0 : fraction() * storeWriteMsMax),
        turnMs: () => (turnMsMax === 0 ? 0 : fraction() * turnMsMax),
      },
    });
    cluster.network.faults = swarm.weather;
    const simulation = new Simulation(options, { swarm, cluster, watcher });
    for (const member of cluster.members) {
      member.syncDelayMs = 0;
      await member.start();
    }
    return simulation;
  }

  async safety(): Promise<void> {
    this.#workload.begin();
    this.#nemesis.begin();
    await this.#runTo(safetyMs, () => false);
    this.#safetyEnd = this.#cluster.clock.now();
  }

  async liveness(): Promise<void> {
    const { clock, members } = this.#cluster;
    this.#workload.end();
    this.#watches.calm();
    await this.#runTo(await this.#nemesis.heal(), () => false);
    const callsEnd = clock.now() + callsMs;
    await this.#wait(callsEnd, "calls do not end", () => this.#workload.pendingCount === 0);
    for (const member of members) {
      let isOver = false;
      this.#workload.proof(member).then(
        () => (isOver = true),
        (error: unknown) => this.#failures.push(error),
      );
      const provedBy = clock.now() + writeMs;
      await this.#wait(provedBy, `no put through ${member.id} succeeds`, () => isOver);
    }
    const end = clock.now() + livenessMs;
    await this.#wait(end, "leases do not expire", () => this.#log.leases.every((l) => l.end));
    await this.#wait(end, "members do not converge", () => this.#isConverged());
    await this.#wait(end, "watches are not complete", () => this.#watches.areComplete());
  }

  /** What can only be said when nothing more comes. */
  judge(): void {
    this.#history.finish();
    this.#leases.finish();
    for (const [which, calls] of this.#workload.registers().entries()) {
      const verdict = checkRegister(calls);
      must(verdict !== "not linearizable", "G2", () => `register ${which} is not linearizable`);
      if (verdict === "unknown") this.#unknownHistories += 1;
    }
  }

  report(violation: Violation | null): SimulationReport {
    const { operations } = this.#history;
    const { validators } = this.#watches;
    return {
      seed: this.#seed,
      swarm: this.#swarm,
      events: this.#cluster.eventCount,
      simulatedMs: this.#safetyEnd,
      faults: this.#nemesis.counts,
      operations: this.#workload.operationCount,
      answered: operations.filter(({ fate }) => fate?.type === "answered").length,
      committed: this.#log.entries.length,
      elections: this.#invariants.electionCount,
      watchEvents: validators.reduce((sum, { eventCount }) => sum + eventCount, 0),
      leaseExpiries: this.#log.leases.filter(({ end }) => end?.isExpiry).length,
      unknownHistories: this.#unknownHistories,
      eventHash: this.#eventHash(),
      violation,
    };
  }

  async #wait(end: number, what: string, condition: () => boolean): Promise<void> {
    const isReached = await this.#runTo(end, condition);
    must(isReached, "liveness", () => `${what}: ${this.#state()}`);
  }

  /** True: the condition holds. Looked at now and then: conditions are dear. */
  async #runTo(end: number, condition: () => boolean): Promise<boolean> {
    const { clock } = this.#cluster;
    let lookAt = clock.now();
    const isReached = await this.#cluster.runTo(end, () => {
      this.#checkFailures();
      const now = clock.now();
      if (now < lookAt) return false;
      lookAt = Math.min(end, now + lookMs);
      return condition();
    });
    return isReached;
  }

  #checkFailures(): void {
    if (this.#failures.length > 0) throw this.#failures[0];
    if (this.#cluster.fatals.length > 0) throw this.#cluster.fatals[0];
  }

  #isConverged(): boolean {
    const states = this.#cluster.members.map((member) => {
      const { applied, commit, leader } = member.node().status();
      return leader === null || applied < commit
        ? null
        : `${applied} ${member.node().machine.mvcc.summary().digest}`;
    });
    return states[0] !== null && states.every((state) => state === states[0]);
  }

  #state(): string {
    return this.#cluster.members
      .map((member) => {
        if (!member.isRunning()) return `${member.id} is down`;
        const { role, term, leader, commit, applied, last } = member.node().status();
        return `${member.id}: ${role} of ${term} under ${leader}, ${applied}/${commit}/${last}`;
      })
      .join("; ");
  }

  #eventHash(): string {
    let hash = this.#cluster.eventCount | 0;
    for (const { at, digest, entry } of this.#log.entries) {
      const text = `${at} ${entry.term} ${digest}`;
      for (let i = 0; i < text.length; i++) hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0;
    }
    return (hash >>> 0).toString(16).padStart(8, "0");
  }
}

/** Passes on what members tell, once there is someone to tell. */
class Watcher implements ClusterObserver {
  #invariants: RaftInvariants | null = null;
  #log: CommittedLog | null = null;
  #clients: ClientLink | null = null;

  attach(invariants: RaftInvariants, log: CommittedLog, clients: ClientLink): void {
    this.#invariants = invariants;
    this.#log = log;
    this.#clients = clients;
  }

  started(member: SimMember): void {
    this.#invariants?.started(member);
  }

  crashed(member: SimMember): void {
    this.#clients?.reset(member);
  }

  appending(member: SimMember, batch: LogAppend): void {
    this.#invariants?.appending(member, batch);
  }

  applied(member: SimMember, entry: Entry, applied: AppliedEntry): void {
    this.#invariants?.applied(member, entry);
    this.#log?.applied(member, entry, applied);
  }

  sent(member: SimMember, message: Message): void {
    this.#invariants?.sent(member, message);
  }

  turned(member: SimMember): void {
    this.#invariants?.turned(member);
  }
}

function violationOf(error: unknown): Violation {
  if (error instanceof Violation) return error;
  const rule = error instanceof AssertionError ? "assertion" : "exception";
  const violation = new Violation(rule, error instanceof Error ? error.message : String(error));
  if (error instanceof Error && error.stack !== undefined) violation.stack = error.stack;
  return violation;
}
