// A consensus core in a known position, for tests of what stands beside it in the loop.
import type { MemberId, Term } from "../../src/base/ids.ts";
import { Raft } from "../../src/raft/raft.ts";
import { nodeOptions, raftConfig } from "../../src/server/node-options.ts";
import type { NodeOptions } from "../../src/server/node-options.ts";
import type { Identity } from "../../src/wal/log.ts";

export const own = "1" as MemberId;
const peers = ["2", "3"] as MemberId[];

export const identity = { cluster: "9", member: own, store: "aa", start: 4 } as Identity;

export const options: NodeOptions = nodeOptions({
  name: "m0",
  clientUrls: ["http://m0:2379"],
  heartbeatMs: 100,
  electionMs: 1000,
  requestBytesMax: 1000,
  seed: 1,
});

function raftOf(voters: readonly MemberId[]): Raft {
  return new Raft(raftConfig(options, identity), {
    hardState: { term: 0, vote: null, commit: 0 },
    configuration: { voters, learners: [] },
    tail: [],
    termBeforeTail: 0,
    firstIndex: 1,
    applied: 0,
  });
}

/** The only member of its cluster, leading. */
export function leadingRaft(): Raft {
  const raft = raftOf([own]);
  while (raft.status().role !== "leader") {
    raft.tick();
    if (raft.hasReady()) raft.synced(raft.ready().sync);
  }
  raft.synced(raft.ready().sync);
  raft.ready();
  return raft;
}

/** One of three; no leader known. */
export function lonelyRaft(): Raft {
  return raftOf([own, ...peers]);
}

/** The first peer leads this term from now on. */
export function follow(raft: Raft, term: Term): void {
  const [leader] = peers as [MemberId];
  raft.step({ type: "heartbeat", from: leader, to: own, term, round: 1, commit: 0 });
  const { sync } = raft.ready();
  raft.synced(sync);
  if (raft.hasReady()) raft.ready();
}
