// Commands on their way into the log (R20). A leader appends them; a follower forwards them to the
// leader it knows, once, under the term it knows, and forgets them: whoever waits learns from the
// applied entry, or from its deadline. Nothing is sent again, so nothing is applied twice.
import type { ProposeMessage } from "./message.ts";
import { send } from "./outbox.ts";
import type { RaftState } from "./raft-state.ts";
import { appendOwn, uncommittedBytes } from "./replication.ts";

export type ProposeResult = "accepted" | "noLeader" | "tooMany";

/** All of `commands`, or none. */
export function propose(state: RaftState, commands: readonly Uint8Array[]): ProposeResult {
  if (commands.length === 0) return "accepted";
  const { leader, term, config } = state;
  if (leader === null) return "noLeader";
  if (state.role === "leader") return appendAll(state, commands) ? "accepted" : "tooMany";
  send(state, { type: "propose", from: config.id, to: leader, term, commands });
  return "accepted";
}

/** Of this term. A member that does not lead it drops it: the proposer's knowledge is old. */
export function handlePropose(state: RaftState, message: ProposeMessage): void {
  if (state.role === "leader") appendAll(state, message.commands);
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
