// Where messages wait for the next ready, and when they may leave (rule R5). One gate for all: a
// message that relies on this member's log waits for the disk; any other waits only when the term
// or vote it relies on is not on disk yet. Nothing here decides what to say.
import { assert } from "../base/assert.ts";
import type { Index, MemberId } from "../base/ids.ts";
import type { Message } from "./message.ts";
import { isHardStateDurable, outboxAfterSyncMax } from "./raft-state.ts";
import type { RaftState } from "./raft-state.ts";

/** For messages that rely on term and vote only. */
export function send(state: RaftState, message: Message): void {
  assert(message.to !== state.config.id, "a message to itself");
  if (isHardStateDurable(state)) state.outbox.push(message);
  else if (state.outboxAfterSync.length < outboxAfterSyncMax) state.outboxAfterSync.push(message);
}

/**
 * Tells the leader of this term that the log agrees with its own up to `match`; leaves when that is
 * on disk. One leaves for all appends of one turn: within a term acknowledged entries are never cut
 * off, so the highest says all.
 */
export function acknowledge(state: RaftState, to: MemberId, match: Index): void {
  assert(match <= state.log.last(), "acknowledges more than there is");
  const waiting = state.acknowledgement;
  if (waiting !== null && waiting.term === state.term) {
    assert(waiting.to === to, "two leaders in one term");
    waiting.match = Math.max(waiting.match, match);
  } else {
    state.acknowledgement = { to, term: state.term, match };
  }
}

/** Whether messages that wait for the disk wait only to be taken. */
export function isNothingUnsynced(state: RaftState): boolean {
  return state.syncDone === state.syncGiven;
}

export function hasAfterSync(state: RaftState): boolean {
  return state.outboxAfterSync.length > 0 || state.acknowledgement !== null;
}

/** Everything that waits for the disk, acknowledgement last. */
export function takeAfterSync(state: RaftState): Message[] {
  const messages = state.outboxAfterSync;
  state.outboxAfterSync = [];
  const waiting = state.acknowledgement;
  if (waiting !== null) {
    const { to, term, match } = waiting;
    messages.push({ type: "appendResponse", from: state.config.id, to, term, match });
    state.acknowledgement = null;
  }
  return messages;
}
