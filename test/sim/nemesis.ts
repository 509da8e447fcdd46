// What goes wrong in a run, and when: about one fault in each simulated second, of the kinds that
// the run knows. Each has a beginning and an end; they overlap. Everything it breaks it can repair,
// and at the end of the safety phase it does. It breaks things only between events, through the
// seams: the network, the clocks, the disks and the processes.
import type { MemberId } from "../../src/base/ids.ts";
import { Prng } from "../../src/base/prng.ts";
import type { ClientLink } from "./client-link.ts";
import type { SimCluster } from "./cluster.ts";
import type { SimMember } from "./sim-member.ts";
import { calmNetwork } from "./sim-network.ts";
import type { FaultKind, Swarm } from "./swarm.ts";
import { driftMax } from "./swarm.ts";

export class Nemesis {
  readonly counts = new Map<FaultKind, number>();
  readonly #cluster: SimCluster;
  readonly #clients: ClientLink;
  readonly #swarm: Swarm;
  readonly #prng: Prng;
  readonly #note: (what: string) => void;
  /** Members whose process is to be started again, or is being. */
  readonly #restarting = new Set<SimMember>();
  #isOver = false;
  /** Syncs that start before this moment end after it. */
  readonly #stalledUntil = new Map<MemberId, number>();

  constructor(
    deps: { cluster: SimCluster; clients: ClientLink; note: (what: string) => void },
    options: { seed: number; swarm: Swarm },
  ) {
    this.#cluster = deps.cluster;
    this.#clients = deps.clients;
    this.#note = deps.note;
    this.#swarm = options.swarm;
    this.#prng = new Prng(options.seed, 101);
    for (const member of this.#cluster.members) {
      member.extraSyncMs = () => this.#syncMs(member);
    }
  }

  /** The next fault, and the ones after it. */
  begin(): void {
    // Exponential gaps with a mean of a little less than a second.
    const gapMs = -Math.log(1 - this.#prng.uint32() / 0x100000000) * 950;
    this.#later(gapMs, () => {
      this.#strike(this.#prng.pick(this.#swarm.faults));
      this.begin();
    });
  }

  /** Everything works again, but for syncs under way: returns when the last of them ends. */
  async heal(): Promise<number> {
    this.#isOver = true;
    const now = this.#cluster.clock.now();
    // A sync is timed by its member's clock, which may be slow.
    const stallsMs = [...this.#stalledUntil.values()].map((until) => (until - now) * 1.2);
    const lastSync = now + Math.max(500, ...stallsMs);
    const { network, members } = this.#cluster;
    network.heal();
    network.faults = calmNetwork;
    this.#clients.loss = 0;
    this.#stalledUntil.clear();
    for (const member of members) {
      member.syncDelayMs = 0;
      if (member.isRunning()) {
        member.resume();
        member.clock().setRate(1);
      } else {
        await member.start();
      }
    }
    this.#note("healed");
    return lastSync;
  }

  #strike(kind: FaultKind): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    switch (kind) {
      case "crash":
        return this.#crash(this.#anyRunning(), this.#prng.pick([5, 50, 500, 3000]));
      case "crashAll":
        for (const member of this.#cluster.running()) this.#crash(member, this.#prng.below(800));
        return;
      case "crashLoop":
        return this.#crashLoop(this.#anyRunning(), this.#prng.between(2, 6));
      case "storeLoss": {
        const member = this.#anyRunning();
        this.#crash(member, this.#prng.pick([5, 500]));
        if (member !== undefined && !member.isRunning()) member.loseStore();
        return;
      }
      case "pause":
        return this.#pause(this.#anyRunning(), this.#prng.pick([50, 300, 1000, 3000, 8000]));
      case "isolate":
        return this.#cut(this.#isolated(), "isolate");
      case "oneWay":
        return this.#cut(this.#oneWay(), "one way");
      case "partial":
        return this.#cut(this.#partial(), "partial");
      case "flap":
        return this.#flap(this.#isolated(), this.#prng.between(4, 12));
      case "disconnect": {
        const [one, other] = [this.#any(), this.#any()];
        this.#note(`disconnect ${one.id} ${other.id}`);
        return this.#cluster.network.disconnect(one.id, other.id);
      }
      case "lossBurst":
        return this.#weather({ loss: this.#prng.pick([0.1, 0.3, 0.6]) });
      case "doubleBurst":
        return this.#weather({ duplication: 0.8 });
      case "delayBurst":
        return this.#weather({ tail: 0.5, tailMs: this.#prng.pick([100, 1000, 3000]) });
      case "replay":
        this.#note("replay");
        return this.#cluster.network.replay(this.#prng.between(5, 60));
      case "diskSlow":
        return this.#slowDisk(this.#any(), this.#prng.pick([20, 100, 400]));
      case "diskStall":
        return this.#stallDisk(this.#any(), this.#prng.pick([100, 500, 2000, 10_000]));
      case "drift":
        return this.#drift(this.#anyRunning());
      case "clientLoss":
        return this.#clientLoss();
    }
  }

  #crash(member: SimMember | undefined, downMs: number): void {
    if (member === undefined || !member.isRunning()) return;
    // Power is lost with what was not synced; or only the process dies, and the disk gets it all.
    const isPowerLoss = this.#prng.chance(0.6);
    const keepSyncing = !isPowerLoss || this.#prng.chance(0.5);
    const storeBatchesLost = isPowerLoss ? this.#prng.pick([0, 1, 3, 40]) : 0;
    this.#note(`crash ${member.id}${keepSyncing ? "" : ", unsynced lost"}`);
    member.crash({ keepSyncing, storeBatchesLost });
    this.#restart(member, downMs);
  }

  #restart(member: SimMember, downMs: number): void {
    if (this.#restarting.has(member)) return;
    this.#restarting.add(member);
    this.#later(downMs, () => {
      this.#restarting.delete(member);
      if (member.isRunning()) return;
      this.#note(`start ${member.id}`);
      void member.start();
    });
  }

  #crashLoop(member: SimMember | undefined, times: number): void {
    if (member === undefined || times === 0) return;
    this.#crash(member, this.#prng.between(1, 40));
    this.#later(this.#prng.between(5, 200), () => this.#crashLoop(member, times - 1));
  }

  #pause(member: SimMember | undefined, pauseMs: number): void {
    if (member === undefined) return;
    const clock = member.clock();
    this.#note(`pause ${member.id} for ${pauseMs} ms`);
    clock.pause();
    this.#later(pauseMs, () => clock.resume());
  }

  #cut(links: readonly [MemberId, MemberId][], what: string): void {
    const { network } = this.#cluster;
    this.#note(`cut, ${what}: ${links.map((link) => link.join(">")).join(" ")}`);
    for (const [from, to] of links) network.cut(from, to);
    this.#later(this.#prng.pick([100, 700, 2500, 6000]), () => {
      for (const [from, to] of links) network.uncut(from, to);
    });
  }

  #flap(links: readonly [MemberId, MemberId][], times: number): void {
    if (times === 0) return;
    const { network } = this.#cluster;
    const isDown = times % 2 === 0;
    for (const [from, to] of links) {
      if (isDown) network.cut(from, to);
      else network.uncut(from, to);
    }
    if (isDown) this.#note(`flap ${links[0]?.[0]}`);
    this.#later(this.#prng.between(50, 500), () => this.#flap(links, times - 1));
  }

  #isolated(): [MemberId, MemberId][] {
    const member = this.#any();
    return this.#links((from, to) => from === member.id || to === member.id);
  }

  #oneWay(): [MemberId, MemberId][] {
    const member = this.#any();
    const isDeaf = this.#prng.chance(0.5);
    return this.#links((from, to) => (isDeaf ? to : from) === member.id);
  }

  /** Any graph: sides with or without a bridge, or chance alone. */
  #partial(): [MemberId, MemberId][] {
    const side = new Set(this.#cluster.members.filter(() => this.#prng.chance(0.5)));
    const ids = new Set([...side].map(({ id }) => id));
    const bridge = this.#prng.chance(0.5) ? this.#any().id : null;
    if (this.#prng.chance(0.3)) return this.#links(() => this.#prng.chance(0.4));
    return this.#links(
      (from, to) => ids.has(from) !== ids.has(to) && from !== bridge && to !== bridge,
    );
  }

  #links(isCut: (from: MemberId, to: MemberId) => boolean): [MemberId, MemberId][] {
    const ids = this.#cluster.members.map(({ id }) => id);
    return ids.flatMap((from) =>
      ids
        .filter((to) => to !== from && isCut(from, to))
        .map((to): [MemberId, MemberId] => [from, to]),
    );
  }

  #weather(change: Partial<Swarm["weather"]>): void {
    const { network } = this.#cluster;
    this.#note(`weather ${JSON.stringify(change)}`);
    network.faults = { ...network.faults, ...change };
    this.#later(this.#prng.pick([300, 1500, 4000]), () => {
      network.faults = this.#swarm.weather;
    });
  }

  #slowDisk(member: SimMember, delayMs: number): void {
    this.#note(`slow disk ${member.id}: ${delayMs} ms`);
    member.syncDelayMs = delayMs;
    this.#later(this.#prng.pick([500, 3000]), () => {
      member.syncDelayMs = 0;
    });
  }

  #stallDisk(member: SimMember, stallMs: number): void {
    this.#note(`stalled disk ${member.id}: ${stallMs} ms`);
    this.#stalledUntil.set(member.id, this.#cluster.clock.now() + stallMs);
  }

  #syncMs(member: SimMember): number {
    const stallMs = (this.#stalledUntil.get(member.id) ?? 0) - this.#cluster.clock.now();
    const ownMs = this.#swarm.syncMsMax * (this.#prng.uint32() / 0x100000000);
    return Math.max(0.05, stallMs, ownMs);
  }

  #drift(member: SimMember | undefined): void {
    if (member === undefined) return;
    const rate = 1 + driftMax * (2 * (this.#prng.uint32() / 0x100000000) - 1);
    this.#note(`clock of ${member.id} at rate ${rate.toFixed(3)}`);
    member.clock().setRate(rate);
  }

  #clientLoss(): void {
    this.#note("client links lose half");
    this.#clients.loss = 0.5;
    this.#later(this.#prng.pick([300, 1500]), () => {
      this.#clients.loss = this.#swarm.clientLoss;
    });
  }

  /** Often the one that leads: what happens to it matters most. */
  #any(): SimMember {
    const leader = this.#prng.chance(0.4) ? this.#cluster.leader() : null;
    return leader ?? this.#prng.pick(this.#cluster.members);
  }

  #anyRunning(): SimMember | undefined {
    const running = this.#cluster.running();
    if (running.length === 0) return undefined;
    const member = this.#any();
    return member.isRunning() ? member : this.#prng.pick(running);
  }

  #later(delayMs: number, run: () => void): void {
    this.#cluster.clock.after(delayMs, () => {
      if (!this.#isOver) run();
    });
  }
}
