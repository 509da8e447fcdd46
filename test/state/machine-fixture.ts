// A machine on bare rows, and the steps by which tests drive it.
import type { MemberId } from "../../src/base/ids.ts";
import { Command } from "../../src/proto/keelson/command.ts";
import type { CommandRequest } from "../../src/state/command.ts";
import { TreeKeyIndex } from "../../src/state/key-index-tree.ts";
import { Leases } from "../../src/state/lease.ts";
import { Machine } from "../../src/state/machine.ts";
import { Members } from "../../src/state/members.ts";
import type { BootstrapMember } from "../../src/state/members.ts";
import { Mvcc } from "../../src/state/mvcc.ts";
import type { AppliedEntry } from "../../src/state/outcome.ts";
import { RowMap } from "./row-map.ts";

export const threeMembers: readonly BootstrapMember[] = ["1", "2", "18446744073709551615"].map(
  (id, i) => ({
    id: id as MemberId,
    name: `m${i + 1}`,
    peerUrls: [`http://127.0.0.1:${2380 + i}`],
    isLearner: false,
  }),
);

export function newMachine(store: RowMap = new RowMap()): Machine {
  const mvcc = new Mvcc({ store, index: new TreeKeyIndex() }, { removedRevision: -1 });
  const leases = new Leases({ store });
  const members = new Members({ store }, threeMembers);
  return new Machine({ store, mvcc, leases, members });
}

/** Applies one command as the next entry, in term 1 unless told. */
export function applyRequest(machine: Machine, request: CommandRequest, term = 1): AppliedEntry {
  const command = Command.encode({ request, proposal: undefined }).finish();
  const index = machine.appliedId().index + 1;
  return machine.apply({ term, index, kind: "normal", data: command });
}
