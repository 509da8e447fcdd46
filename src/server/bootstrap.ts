// The first configuration of a cluster, derived from its initial member list: every member
// computes the same ids without asking anyone. As etcd: a member's id is the first 8 bytes of
// SHA-1 over its sorted peer URLs and the cluster token, the cluster's id the first 8 bytes of
// SHA-1 over the sorted member ids. Clients take both as opaque.
import { createHash } from "node:crypto";
import type { ClusterId, MemberId } from "../base/ids.ts";
import { assert } from "../base/assert.ts";
import { compareBytes } from "../base/bytes.ts";
import type { Configuration } from "../raft/entry.ts";
import type { BootstrapMember } from "../state/members.ts";

/** One member of the initial cluster, as the flags name it. */
export interface InitialMember {
  readonly name: string;
  readonly peerUrls: readonly string[];
}

export interface InitialCluster {
  readonly clusterId: ClusterId;
  /** In the order of their ids. */
  readonly members: readonly BootstrapMember[];
  readonly configuration: Configuration;
}

export function initialCluster(initial: readonly InitialMember[], token: string): InitialCluster {
  const members = initial.map(({ name, peerUrls }) => ({
    id: memberIdOf(peerUrls, token),
    name,
    peerUrls: [...peerUrls].sort(),
    isLearner: false,
  }));
  members.sort((left, right) => compareBytes(idBytes(left.id), idBytes(right.id)));
  const voters = members.map(({ id }) => id);
  assert(new Set(voters).size === voters.length, "two initial members have one id");
  return { clusterId: clusterIdOf(voters), members, configuration: { voters, learners: [] } };
}

export function memberIdOf(peerUrls: readonly string[], token: string): MemberId {
  const joined = [...peerUrls].sort().join("");
  return idOf(new TextEncoder().encode(joined + token)) as MemberId;
}

/** Of member ids in any order. */
export function clusterIdOf(members: readonly MemberId[]): ClusterId {
  const sorted = members.map(idBytes).sort(compareBytes);
  return idOf(Buffer.concat(sorted)) as ClusterId;
}

/** The first 8 bytes of the digest, as an unsigned decimal. */
function idOf(bytes: Uint8Array): string {
  return createHash("sha1").update(bytes).digest().readBigUInt64BE(0).toString();
}

function idBytes(id: MemberId): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(id));
  return bytes;
}
