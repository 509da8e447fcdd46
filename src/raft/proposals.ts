// Commands on their way into the log (R20). A leader appends them; a follower forwards them to the
// leader it knows, once, under the term it knows, and forgets them: whoever waits learns from the
// applied entry, from the leader's rejection, or from its deadline.
//
// Nothing is sent again, and a leader takes no batch twice, though the network may double it: so
// nothing is applied twice, and a rejected batch is certainly in no log.
import type { ProposeMessage, ProposeRejectionMessage } from "./message.ts";
import { send } from "./outbox.ts";
import { isMember } from "./raft-state.ts";
import type { RaftState } from "./raft-state.ts";
import { appendOwn, uncommittedBytes } from "./replication.ts";

/** What a leader has seen of one follower's batches, in its present start. */
export interface BatchesSeen {
  readonly start: number;
  highest: number;
  /** All that were seen of the newest batchWindow. */
  readonly recent: Set<number>;
}

/** Batches later than this are dropped, as if lost: whether they are new is forgotten. */
const batchWindow = 1024;

export type ProposeResult = "accepted" | "noLeader" | "tooMany";

/** All of `commands`, or none. */
export function propose(
  state: RaftState,
  commands: readonly Uint8Array[],
  batch: number,
): ProposeResult {
  if (commands.length === 0) return "accepted";
  const { leader, term, config } = state;
  if (leader === null) return "noLeader";
  if (state.role === "leader") return appendAll(state, commands) ? "accepted" : "tooMany";
  const { id: from, start } = config;
  send(state, { type: "propose", from, to: leader, term, batch, start, commands });
  return "accepted";
}

/** Of this term. A member that does not lead it drops it: the proposer's knowledge is old. */
export function handlePropose(state: RaftState, message: ProposeMessage): void {
  if (state.role !== "leader" || !isFirst(state, message)) return;
  if (appendAll(state, message.commands)) return;
  const { from: to, batch, start } = message;
  const { term, config } = state;
  send(state, { type: "proposeRejection", from: config.id, to, term, batch, start });
}

export function handleProposeRejection(state: RaftState, message: ProposeRejectionMessage): void {
  if (message.start === state.config.start) state.batchesRefused.push(message.batch);
}

/** Notes the batch. False: it was seen before, or perhaps was. */
function isFirst(state: RaftState, { from, start, batch }: ProposeMessage): boolean {
  if (!isMember(state, from)) return false;
  const seen = state.batchesSeen.get(from);
  if (seen === undefined || seen.start < start) {
    state.batchesSeen.set(from, { start, highest: batch, recent: new Set([batch]) });
    return true;
  }
  if (start < seen.start || batch <= seen.highest - batchWindow) return false;
  if (seen.recent.has(batch)) return false;
  seen.recent.add(batch);
  seen.highest = Math.max(seen.highest, batch);
  if (seen.recent.size > 2 * batchWindow) {
    for (const old of seen.recent) if (old <= seen.highest - batchWindow) seen.recent.delete(old);
  }
  return true;
}

/** False when too much is uncommitted. Any size passes when nothing is, so that none waits for ever. */
function appendAll(state: RaftState, commands: readonly Uint8Array[]): boolean {
  const pending = uncommittedBytes(state);
  let bytes = 0;
  for (const command of commands) bytes += command.length;
  if (pending > 0 && pending + bytes > state.config.uncommittedBytesMax) return false;
  for (const command of commands) appendOwn(state, command);
  return true;
}
