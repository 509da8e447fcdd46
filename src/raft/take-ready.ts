// Builds one Ready: everything that gathered since the last, taken out. What waits for nothing
// leaves at once; what waits for the disk rides on the next write, or on none when all is synced.
import { assert } from "../base/assert.ts";
import type { Entry, HardState } from "./entry.ts";
import type { Message } from "./message.ts";
import { hasAfterSync, isNothingUnsynced, takeAfterSync } from "./outbox.ts";
import type { RaftState } from "./raft-state.ts";
import type { EntriesWanted, LogAppend, Ready } from "./ready.ts";
import { isReadRoundDue, sendHeartbeats } from "./read-index.ts";
import { hasAppendsDue, sendAppends } from "./replication.ts";

export function hasReady(state: RaftState): boolean {
  return (
    state.outbox.length > 0 ||
    hasAppend(state) ||
    (hasAfterSync(state) && isNothingUnsynced(state)) ||
    state.reads.confirmed.length > 0 ||
    state.reads.failed.length > 0 ||
    state.batchesRefused.length > 0 ||
    hasCommitted(state) ||
    isReadRoundDue(state) ||
    hasAppendsDue(state)
  );
}

export function takeReady(state: RaftState): Ready {
  if (isReadRoundDue(state)) sendHeartbeats(state);
  const wanted = sendAppends(state);
  const committed = takeCommitted(state, wanted);
  const append = takeAppend(state);
  const messagesAfterSync = append === null ? [] : takeAfterSync(state);
  if (append === null && isNothingUnsynced(state)) state.outbox.push(...takeAfterSync(state));
  const { confirmed: reads, failed: readsFailed } = state.reads;
  state.reads.confirmed = [];
  state.reads.failed = [];
  const { batchesRefused } = state;
  state.batchesRefused = [];
  const messages: readonly Message[] = state.outbox;
  state.outbox = [];
  const sync = append === null ? 0 : state.syncGiven;
  return {
    messages,
    append,
    sync,
    messagesAfterSync,
    committed,
    reads,
    readsFailed,
    batchesRefused,
    wanted,
  };
}

function hasAppend(state: RaftState): boolean {
  return state.hardStateChanged || state.log.hasUnsaved();
}

/** A commit index alone is no reason to write: it is a hint, and rides along with what is. */
function takeAppend(state: RaftState): LogAppend | null {
  if (!hasAppend(state)) return null;
  const sync = ++state.syncGiven;
  let hardState: HardState | null = null;
  if (state.hardStateChanged || state.commit !== state.commitSaved) {
    hardState = { term: state.term, vote: state.vote, commit: state.commit };
    if (state.hardStateChanged) state.hardStateSync = sync;
    state.hardStateChanged = false;
    state.commitSaved = state.commit;
  }
  return { hardState, entries: state.log.takeUnsaved(sync) };
}

/** The machine gets one batch at a time: the next when it applied the last. */
function hasCommitted(state: RaftState): boolean {
  if (state.applied < state.given || state.isApplyLoading) return false;
  return Math.min(state.commit, state.log.durable()) > state.given;
}

function takeCommitted(state: RaftState, wanted: EntriesWanted[]): readonly Entry[] {
  if (!hasCommitted(state)) return [];
  const { log } = state;
  const first = state.given + 1;
  const last = Math.min(state.commit, log.durable());
  const bytesMax = state.config.committedBytesMax;
  let committed = state.applyLoaded;
  state.applyLoaded = [];
  if (committed.length === 0) {
    if (first < log.tailFirst()) {
      state.isApplyLoading = true;
      const lastWanted = Math.min(last, log.tailFirst() - 1);
      wanted.push({ first, last: lastWanted, bytesMax, purpose: "apply" });
      return [];
    }
    committed = log.slice(first, last, bytesMax);
  }
  assert(committed[0]?.index === first, "committed entries with a gap");
  state.given = first + committed.length - 1;
  assert(state.given <= last, "gave out what is not committed, or not durable");
  return committed;
}
