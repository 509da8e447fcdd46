// Where the gauges of /metrics come from: the parts of a running member, asked when somebody
// scrapes. Reads only, and keeps nothing.
import type { MemberId } from "../base/ids.ts";
import type { CheckedStore } from "../store/checked-store.ts";
import type { MetricsSource } from "./metrics.ts";
import type { Node } from "./node.ts";
import type { ServingWatch } from "./serving-watch.ts";

export interface MemberParts {
  readonly node: Pick<Node, "status" | "counts" | "watchHub" | "machine">;
  readonly store: Pick<CheckedStore, "diskBytes">;
  readonly transport: {
    traffic: MetricsSource["traffic"];
    connected: MetricsSource["connectedPeers"];
  };
  /** Of the other members. */
  readonly peers: readonly MemberId[];
  readonly serving: ServingWatch;
  readonly listeners: readonly { connectionCount(): number }[];
  readonly quotaBytes: number;
}

export function metricsSource(parts: MemberParts): MetricsSource {
  const { node, store, transport, peers, serving, listeners, quotaBytes } = parts;
  return {
    status: () => node.status(),
    leaderChanges: () => serving.leaderChanges(),
    counts: () => node.counts(),
    watches: () => node.watchHub.counts(),
    compactRevision: () => node.machine.mvcc.compactRevision(),
    keyCount: () => node.machine.mvcc.summary().keyCount,
    leaseCount: () => node.machine.leases.list().length,
    storeBytes: () => store.diskBytes(),
    quotaBytes,
    traffic: () => transport.traffic(),
    clientConnections: () =>
      listeners.reduce((count, listener) => count + listener.connectionCount(), 0),
    peers: () => peers,
    connectedPeers: () => transport.connected(),
  };
}
