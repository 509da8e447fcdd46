// Which data directory is whose, for the handshake: what the member table says, and, for a member
// that it does not know yet, the first publication in the end of the log that is not known
// committed.
//
// That end counts because the table may be behind what the cluster acknowledged: when a publication
// was the last write, no later one carried its commit index to the disk, and after a loss of power
// the table's row may be gone too. A member wiped in that moment would be taken for a new one, vote,
// and forget what it had acknowledged.
//
// Refusing on such an entry is the safe side even if it was never committed and never will be: its
// sender ran on that directory, and may have voted from it. The price is that a member whose first
// publication failed, and whose directory was then lost, waits for the table: until a leader that
// takes it has committed its new publication. The table always counts before the log's end.
//
// Not here: publications that reached the log after the start, which the table has by then.
import type { MemberId, StoreId } from "../base/ids.ts";
import type { Entry } from "../raft/entry.ts";
import { decodeCommand } from "../state/command.ts";
import type { Members } from "../state/members.ts";

/** `tail`: what consensus was restored with. Null: nobody knows. */
export function knownStores(
  members: Members,
  tail: readonly Entry[],
): (member: MemberId) => StoreId | null {
  const published = new Map<string, StoreId>();
  for (const entry of tail) {
    const request = decodeCommand(entry)?.request;
    if (request?.$case !== "memberAttributes") continue;
    const { member, storeId } = request.value;
    // The machine takes the first one of a member, and refuses any other.
    if (!published.has(member)) published.set(member, storeId as StoreId);
  }
  return (member) => members.get(member)?.storeId ?? published.get(member) ?? null;
}
