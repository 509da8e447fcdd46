// What kind of run a seed is: its size, its limits, its weather and which faults it knows. Every
// run has some faults and lacks others, since faults can hide each other's effects (swarm testing).
// Drawn from a stream of its own, so that a new choice anywhere else reshuffles nothing here.
import type { RaftConfig } from "../../src/raft/config.ts";
import { Prng } from "../../src/base/prng.ts";
import type { NodeOptions } from "../../src/server/node-options.ts";
import type { WatchHubOptions } from "../../src/server/watch-hub.ts";
import type { NetworkFaults } from "./sim-network.ts";

export const sizes = [1, 3, 5, 7] as const;

export const faultKinds = [
  "crash",
  "crashAll",
  "crashLoop",
  "storeLoss",
  "pause",
  "isolate",
  "oneWay",
  "partial",
  "flap",
  "disconnect",
  "lossBurst",
  "doubleBurst",
  "delayBurst",
  "replay",
  "diskSlow",
  "diskStall",
  "drift",
  "clientLoss",
] as const;
export type FaultKind = (typeof faultKinds)[number];

/** No clock is faster or slower by more. */
export const driftMax = 0.1;

export interface Swarm {
  readonly size: number;
  readonly electionMs: number;
  readonly heartbeatMs: number;
  readonly weather: NetworkFaults;
  readonly raft: Partial<RaftConfig>;
  readonly options: Partial<NodeOptions>;
  readonly watchHub: Partial<WatchHubOptions>;
  /** Upper bounds of what a sync, a batch of the store and a turn take. */
  readonly syncMsMax: number;
  readonly storeWriteMsMax: number;
  readonly turnMsMax: number;
  readonly faults: readonly FaultKind[];
  readonly valueBytesMax: number;
  readonly clientLoss: number;
}

export function swarmOf(seed: number, sizeGiven: number | null): Swarm {
  const prng = new Prng(seed, 100);
  const size = sizeGiven ?? prng.pick(sizes);
  const heartbeatMs = prng.pick([50, 100, 100]);
  const isAlone = size === 1;
  const delayMsMax = prng.pick([1, 3, 10, 30]);
  return {
    size,
    heartbeatMs,
    electionMs: heartbeatMs * prng.pick([5, 10, 10, 20]),
    weather: {
      delayMsMin: prng.pick([0.1, 0.5, 1]),
      delayMsMax,
      loss: prng.pick([0, 0, 0.01, 0.05]),
      duplication: prng.pick([0, 0.02, 0.2, 0.7]),
      tail: prng.pick([0, 0, 0.01, 0.1]),
      tailMs: prng.pick([50, 500, 5000]),
    },
    raft: {
      // Few ticks: candidates often draw the same timeout.
      ...(prng.chance(0.5) ? { heartbeatTicks: 1, electionTicksMin: 6 } : {}),
      appendBytesMax: prng.pick([1, 200, 2000, 1 << 20]),
      inflightCountMax: prng.pick([1, 4, 128]),
      inflightBytesMax: prng.pick([1, 1000, 8 << 20]),
      uncommittedBytesMax: prng.pick([2000, 64 << 20]),
      tailBytesMax: prng.pick([1, 1000, 64 << 20]),
      committedBytesMax: prng.pick([1, 1000, 4 << 20]),
      readsPendingMax: prng.pick([4, 4096]),
    },
    options: {
      overlayBytesMax: prng.pick([500, 20_000, 32 << 20]),
      compactRowsPerSlice: prng.pick([1, 20, 500]),
      proposeBytesMax: prng.pick([1, 1000, 1 << 20]),
      readRoundsMax: prng.pick([1, 2]),
      inboxMessagesMax: prng.pick([20, 16_384]),
      leaseExpiriesPerCheck: prng.pick([1, 500]),
    },
    watchHub: {
      fragmentBytes: prng.pick([200, 1536 * 1024]),
      progressNotifyMs: prng.pick([500, 5000]),
      recentRevisionsMax: prng.pick([2, 1024]),
      scanRevisionsMax: prng.pick([3, 1000]),
      scanBytesMax: prng.pick([300, 64 * 1024]),
      responseBytesMax: prng.pick([100, 16 * 1024]),
    },
    syncMsMax: prng.pick([0.5, 2, 10, 40]),
    storeWriteMsMax: prng.pick([0, 1, 50]),
    turnMsMax: prng.pick([0, 0, 0.5, 5]),
    faults: drawFaults(prng, isAlone),
    valueBytesMax: prng.pick([8, 64, 400]),
    clientLoss: prng.pick([0, 0.01, 0.05]),
  };
}

/** Of one member alone, connections cannot break. */
const betweenMembers: readonly FaultKind[] = [
  "isolate",
  "oneWay",
  "partial",
  "flap",
  "disconnect",
  "lossBurst",
  "doubleBurst",
  "delayBurst",
  "replay",
];

function drawFaults(prng: Prng, isAlone: boolean): FaultKind[] {
  const possible = faultKinds.filter((kind) => !isAlone || !betweenMembers.includes(kind));
  const drawn = possible.filter(() => prng.chance(0.5));
  return drawn.length > 0 ? drawn : [prng.pick(possible)];
}
