// One member of the simulated cluster: its identity, its disk and its store's place, which survive a
// crash, and one life at a time between them: real Raft, Machine, Node, handshake, checked store and
// services over the six seams in their simulated form. With cluster.ts the second place that
// assembles members.
//
//   new ─start→ running ─crash, stop→ down ─start→ running …      pause and resume while running
import { assert } from "../../src/base/assert.ts";
import type { MemberId, StoreId } from "../../src/base/ids.ts";
import type { LogFields, Logger } from "../../src/base/logger.ts";
import { Prng } from "../../src/base/prng.ts";
import { leaseTtlSecondsMin } from "../../src/api/api-options.ts";
import type { MethodTable } from "../../src/api/method.ts";
import { serviceTable } from "../../src/api/services.ts";
import { Handshake } from "../../src/peer/handshake.ts";
import { Command } from "../../src/proto/keelson/command.ts";
import { RangeRequest } from "../../src/proto/etcdserverpb/kv.ts";
import type { RaftConfig } from "../../src/raft/config.ts";
import type { Entry } from "../../src/raft/entry.ts";
import type { Message } from "../../src/raft/message.ts";
import { Raft } from "../../src/raft/raft.ts";
import type { LogAppend } from "../../src/raft/ready.ts";
import type { InitialCluster } from "../../src/server/bootstrap.ts";
import { knownStores } from "../../src/server/known-stores.ts";
import { Node } from "../../src/server/node.ts";
import type { CallLimits } from "../../src/server/node.ts";
import { nodeOptions, raftConfig } from "../../src/server/node-options.ts";
import type { NodeOptions } from "../../src/server/node-options.ts";
import { openOrRebuild } from "../../src/server/open-state.ts";
import { restoreRaft } from "../../src/server/restore-raft.ts";
import { WatchHistory } from "../../src/server/watch-history.ts";
import { WatchHub, watchHubDefaults } from "../../src/server/watch-hub.ts";
import type { WatchHubOptions } from "../../src/server/watch-hub.ts";
import type { Machine } from "../../src/state/machine.ts";
import { restoreMachine } from "../../src/state/machine.ts";
import type { AppliedEntry, Outcome } from "../../src/state/outcome.ts";
import type { CheckedStore } from "../../src/store/checked-store.ts";
import type { Log } from "../../src/wal/log.ts";
import { MemoryDisk, MemoryLog } from "../../src/wal/memory-log.ts";
import type { FakeClock } from "./fake-clock.ts";
import { MemberClock } from "./member-clock.ts";
import type { SimNetwork } from "./sim-network.ts";
import { SimPlace } from "./sim-place.ts";

/** What is told as it happens, each at the moment when it has happened and nothing has followed. */
export interface ClusterObserver {
  started(member: SimMember): void;
  crashed(member: SimMember): void;
  /** The log is given this; nothing of it is on disk. */
  appending(member: SimMember, batch: LogAppend): void;
  applied(member: SimMember, entry: Entry, applied: AppliedEntry): void;
  /** A message leaves now. */
  sent(member: SimMember, message: Message): void;
  /** A turn of its loop is over. */
  turned(member: SimMember): void;
}

/** How long things take on a member's machine; asked anew each time. */
export interface MachineDelays {
  readonly storeWriteMs: () => number;
  readonly turnMs: () => number;
}

export interface ClusterOptions {
  readonly size: number;
  readonly seed: number;
  readonly heartbeatMs?: number;
  readonly electionMs?: number;
  /** Changes to what nodeOptions and raftConfig derive, and to the hub's defaults. */
  readonly options?: Partial<NodeOptions>;
  readonly raft?: Partial<RaftConfig>;
  readonly watchHub?: Partial<WatchHubOptions>;
  readonly delays?: MachineDelays;
  readonly observer?: ClusterObserver;
}

/** What dies with a crash, how much of it the disk kept. */
export interface CrashLoss {
  /** What was being synced had reached the disk. */
  readonly keepSyncing: boolean;
  /** Newest batches of the store that are gone. */
  readonly storeBatchesLost?: number;
}

/** What all members share, and what they tell of themselves. */
export interface SimWorld {
  readonly clock: FakeClock;
  readonly network: SimNetwork;
  readonly initial: InitialCluster;
  readonly options: ClusterOptions;
  /** Lets time pass until the call ends. */
  readonly result: <T>(call: Promise<T>) => Promise<T>;
  readonly logged: (line: SimLogLine) => void;
  /** What ended a process that was not meant to end. */
  readonly fatal: (error: unknown) => void;
}

export interface SimLogLine {
  readonly member: MemberId;
  readonly level: keyof Logger;
  readonly message: string;
  readonly fields: LogFields;
}

const prompt: MachineDelays = { storeWriteMs: () => 0, turnMs: () => 0 };
const neverAborted = new AbortController().signal;

export class SimMember {
  readonly id: MemberId;
  readonly #world: SimWorld;
  readonly #initial: InitialCluster;
  readonly #seed: number;
  readonly #given: ClusterOptions;
  /** Changed by wipe(). */
  #disk: MemoryDisk;
  readonly #place: SimPlace;
  #wipeCount = 0;
  #life: {
    node: Node;
    raft: Raft;
    store: CheckedStore;
    clock: MemberClock;
    log: MemoryLog;
    transport: { close(): unknown };
    methods: MethodTable;
  } | null = null;
  /** Of the syncs that start from now on. */
  syncDelayMs = 1;
  /** Added to each of them. */
  extraSyncMs: () => number = () => 0;

  constructor(world: SimWorld, own: { id: MemberId; seed: number }) {
    this.id = own.id;
    this.#seed = own.seed;
    this.#world = world;
    this.#initial = world.initial;
    this.#given = world.options;
    this.#disk = this.#newDisk();
    const { storeWriteMs: writeDelayMs } = this.#given.delays ?? prompt;
    this.#place = new SimPlace({ clock: world.clock, writeDelayMs });
  }

  isRunning(): boolean {
    return this.#life !== null;
  }

  node(): Node {
    assert(this.#life !== null, `member ${this.id} is not running`);
    return this.#life.node;
  }

  raft(): Raft {
    assert(this.#life !== null, `member ${this.id} is not running`);
    return this.#life.raft;
  }

  clock(): MemberClock {
    assert(this.#life !== null, `member ${this.id} is not running`);
    return this.#life.clock;
  }

  /** What it serves, and the mark of the life that serves it. */
  methods(): MethodTable {
    assert(this.#life !== null, `member ${this.id} is not running`);
    return this.#life.methods;
  }

  disk(): MemoryDisk {
    return this.#disk;
  }

  async start(): Promise<void> {
    assert(this.#life === null, `member ${this.id} runs`);
    const { network } = this.#world;
    const { observer, delays = prompt } = this.#given;
    const clock = new MemberClock(this.#world.clock, {
      turnDelayMs: delays.turnMs,
      turned: () => {
        if (this.#life?.clock === clock) observer?.turned(this);
      },
    });
    const logger = this.#logger();
    const syncDelayMs = () => this.syncDelayMs + this.extraSyncMs();
    const log = new MemoryLog(this.#disk, { clock, syncDelayMs });
    const { identity } = log.recovered;
    const options = this.#options();
    const opening = await openOrRebuild({ place: this.#place, logger });
    assert(opening.type === "open", "the store is of a newer format");
    const { state } = opening;
    const machine = restoreMachine(state, this.#initial.members);
    const restored = await restoreRaft(log, machine.appliedId().index);
    const raft = new Raft({ ...raftConfig(options, identity), ...this.#given.raft }, restored);
    if (observer !== undefined) this.#tell(machine, observer);
    const handshake = new Handshake({
      self: { ...identity, run: `run ${identity.start}`, electionMs: options.electionMs },
      peers: this.#initial.configuration.voters.filter((id) => id !== this.id),
      replicatedStore: knownStores(machine.members, restored.tail),
      logger,
    });
    const transport = network.transport(this.id, { clock, handshake });
    const watchHub = new WatchHub(
      {
        history: new WatchHistory({ reader: machine.mvcc, store: state.store }),
        header: {
          clusterId: identity.cluster,
          memberId: identity.member,
          term: () => raft.status().term,
        },
        clock,
        seed: this.#seed,
      },
      { ...watchHubDefaults, ...this.#given.watchHub },
    );
    const node = new Node(
      {
        raft,
        log: observer === undefined ? log : this.#watchedLog(log, observer),
        transport,
        machine,
        store: state.store,
        watchHub,
        clock,
        logger,
        fatal: (error) => {
          this.#world.fatal(error);
          this.crash();
        },
      },
      options,
    );
    const { electionMs, requestBytesMax } = options;
    const methods = serviceTable(
      {
        node,
        clock,
        random: new Prng(this.#seed, identity.start),
        dbBytes: () => state.store.diskBytes(),
      },
      {
        txnOpsMax: 128,
        requestBytesMax,
        leaseTtlSecondsMin: leaseTtlSecondsMin(electionMs),
        electionMs,
        dbQuotaBytes: 0,
      },
    );
    this.#life = { node, raft, store: state.store, clock, log, transport, methods };
    observer?.started(this);
    node.start();
  }

  #tell(machine: Machine, observer: ClusterObserver): void {
    const apply = machine.apply.bind(machine);
    machine.apply = (entry) => {
      const applied = apply(entry);
      observer.applied(this, entry, applied);
      return applied;
    };
  }

  #watchedLog(log: MemoryLog, observer: ClusterObserver): Log {
    return {
      recovered: log.recovered,
      append: (batch) => {
        observer.appending(this, batch);
        return log.append(batch);
      },
      read: (first, last, bytesMax) => log.read(first, last, bytesMax),
      syncAgeMs: () => log.syncAgeMs(),
      close: () => log.close(),
    };
  }

  /** SIGKILL, or power lost. What was being synced may have reached the disk, or not. */
  crash(loss: CrashLoss = { keepSyncing: false }): void {
    assert(this.#life !== null, `member ${this.id} is not running`);
    const { clock, log, transport } = this.#life;
    clock.kill();
    log.crash(loss.keepSyncing);
    void transport.close();
    this.#place.crash(loss.storeBatchesLost ?? 0);
    this.#life = null;
    this.#given.observer?.crashed(this);
  }

  /** Its state directory is lost, but not its log. */
  loseStore(): void {
    assert(this.#life === null, `member ${this.id} runs`);
    this.#place.lose();
  }

  /** SIGTERM. */
  async stop(): Promise<void> {
    const node = this.node();
    await this.#world.result(node.stop());
    await this.#life?.store.close();
    this.#life?.clock.kill();
    this.#place.crash(0);
    this.#life = null;
  }

  pause(): void {
    this.#life?.clock.pause();
  }

  resume(): void {
    this.#life?.clock.resume();
  }

  /** Its data directory is lost. */
  wipe(): void {
    assert(this.#life === null, `member ${this.id} runs`);
    this.#wipeCount += 1;
    this.#disk = this.#newDisk();
    this.#place.lose();
  }

  put(key: string, value: string, lease = "0"): Promise<Outcome> {
    const put = { key: bytes(key), value: bytes(value), lease };
    return this.propose({ $case: "put", value: { ...emptyPut, ...put } });
  }

  propose(request: NonNullable<Command["request"]>, limits = noLimits): Promise<Outcome> {
    const command = Command.encode({ request, proposal: undefined }).finish();
    return this.node().propose(command, limits);
  }

  /** Linearizable; undefined: no such key. */
  async get(key: string): Promise<string | undefined> {
    await this.node().barrier(noLimits);
    return this.peek(key);
  }

  /** From this member's own state. */
  async peek(key: string): Promise<string | undefined> {
    const range = RangeRequest.fromPartial({ key: bytes(key) });
    const [found] = (await this.node().range(range)).kvs;
    return found === undefined ? undefined : new TextDecoder().decode(found.value);
  }

  #newDisk(): MemoryDisk {
    return new MemoryDisk({
      cluster: this.#initial.clusterId,
      member: this.id,
      store: `${this.id}-${this.#wipeCount}` as StoreId,
      configuration: this.#initial.configuration,
    });
  }

  #options(): NodeOptions {
    const name = this.#initial.members.find(({ id }) => id === this.id)?.name ?? "";
    const derived = nodeOptions({
      name,
      clientUrls: [`http://${name}:2379`],
      heartbeatMs: this.#given.heartbeatMs ?? 100,
      electionMs: this.#given.electionMs ?? 1000,
      requestBytesMax: 1_572_864,
      seed: this.#seed,
    });
    return { ...derived, ...this.#given.options };
  }

  #logger(): Logger {
    const write = (level: keyof Logger) => (fields: LogFields, message: string) => {
      this.#world.logged({ member: this.id, level, message, fields });
    };
    return {
      debug: write("debug"),
      info: write("info"),
      warn: write("warn"),
      error: write("error"),
    };
  }
}

export const noLimits: CallLimits = { deadline: Infinity, signal: neverAborted };

const emptyPut = {
  key: new Uint8Array(0),
  value: new Uint8Array(0),
  lease: "0",
  prevKv: false,
  ignoreValue: false,
  ignoreLease: false,
};

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
