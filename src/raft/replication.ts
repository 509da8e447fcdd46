// Leader and follower agreeing on the log, and what of it is committed.
//
// Leader: nothing is sent when it is proposed; sendAppends runs once a ready and gives each follower
// what gathered, in messages of at most appendBytesMax. Where logs differ, both sides skip whole
// terms: the follower hints at the highest place that can agree by its terms, the leader lowers
// that by its own. Only an entry of the leader's own term, durable on a majority, moves the commit
// index (Raft thesis 3.6.2, Figure 8); all before it are committed with it.
//
// Acknowledgements need no attempt id (R8), because three facts hold together: they are fixed when
// the append is taken and name its term, so no later term counts them; within a term no
// acknowledged entry is cut off, as its leader only appends; and they leave after the sync of a
// write that contains the entries, so votes for the next term, synced later, know of them.
import { assert } from "../base/assert.ts";
import type { Index } from "../base/ids.ts";
import type { EntriesWanted } from "./ready.ts";
import type { Entry } from "./entry.ts";
import type { AppendMessage, AppendRejectionMessage, AppendResponseMessage } from "./message.ts";
import { acknowledge, send } from "./outbox.ts";
import { becomeProbe, keepLoaded, maybeAdvance, noteSent } from "./progress.ts";
import type { Progress } from "./progress.ts";
import { quorumValue } from "./quorum.ts";
import type { RaftState } from "./raft-state.ts";

/** Adds a command to this leader's log. Empty: the entry that opens its term. */
export function appendOwn(state: RaftState, data: Uint8Array): void {
  assert(state.role === "leader", "only a leader appends");
  const { log, term } = state;
  log.append({ term, index: log.last() + 1, kind: "normal", data });
}

// On the follower.

/** The sender leads this term; the dispatch has made this member its follower. */
export function handleAppend(state: RaftState, message: AppendMessage): void {
  const { log } = state;
  const { previous, entries, from } = message;
  if (!agreesAt(state, message)) {
    const floor = Math.min(state.commit, previous.index);
    const index = log.agreementAtMost(Math.min(previous.index, log.last()), previous.term, floor);
    send(state, {
      type: "appendRejection",
      from: state.config.id,
      to: from,
      term: state.term,
      previous: previous.index,
      hint: { term: log.termAt(index) ?? 0, index },
    });
    return;
  }
  appendFromLeader(state, entries);
  const lastNew = previous.index + entries.length;
  commitFromLeader(state, Math.min(message.commit, lastNew));
  // What is committed is in every later leader's log, so it is acknowledged in any case.
  acknowledge(state, from, Math.max(lastNew, state.commit));
}

/** The log has an entry like `previous`. Every leader agrees on what is committed. */
function agreesAt(state: RaftState, message: AppendMessage): boolean {
  const { index, term } = message.previous;
  if (index > state.log.last()) return false;
  const own = state.log.termAt(index);
  if (index > state.commit) return own === term;
  assert(own === null || own === term, "another entry is committed here");
  return true;
}

/** Entries that are there already stay, so that a late append cuts nothing off. */
function appendFromLeader(state: RaftState, entries: readonly Entry[]): void {
  const { log } = state;
  for (const entry of entries) {
    if (entry.index <= log.last()) {
      const own = log.termAt(entry.index);
      if (own === entry.term || (own === null && entry.index <= state.commit)) continue;
      assert(
        entry.index > state.commit,
        `the entry at ${entry.index} is committed with term ${own}`,
      );
      log.truncate(entry.index);
    }
    log.append(entry);
  }
}

/** The leader says that entries up to `index`, which this member has, are committed. */
export function commitFromLeader(state: RaftState, index: Index): void {
  if (index <= state.commit) return;
  state.commit = index;
  state.log.trim(index);
}

// On the leader.

export function handleAppendResponse(state: RaftState, message: AppendResponseMessage): void {
  const progress = state.progress.get(message.from);
  if (progress === undefined) return;
  assert(message.match <= state.log.last(), "an acknowledgement of what was never sent");
  if (maybeAdvance(progress, message.match) && message.match > state.commit) maybeCommit(state);
}

export function handleAppendRejection(state: RaftState, message: AppendRejectionMessage): void {
  const progress = state.progress.get(message.from);
  if (progress === undefined) return;
  const { previous, hint } = message;
  // Reordered or doubled: it speaks of a question that was answered since (openraft fbbf37b1).
  const isStale =
    progress.state === "probe" ? previous !== progress.next - 1 : previous >= progress.next;
  if (isStale || previous <= progress.match) return;
  const from = Math.min(hint.index, previous - 1);
  const termMax = hint.term === 0 ? state.term : hint.term;
  const agreement = state.log.agreementAtMost(from, termMax, progress.match);
  becomeProbe(progress, agreement + 1);
}

/** Commits what a majority has durably, this member included only for what it synced itself. */
export function maybeCommit(state: RaftState): void {
  const { log } = state;
  const matches = state.configuration.voters.map((voter) =>
    voter === state.config.id ? log.durable() : (state.progress.get(voter)?.match ?? 0),
  );
  const index = quorumValue(matches);
  if (index <= state.commit || log.termAt(index) !== state.term) return;
  state.commit = index;
  log.trim(index);
}

/** Bytes of entries that are not committed; this leader's own and those it inherited. */
export function uncommittedBytes(state: RaftState): number {
  return state.log.bytesAfter(state.commit);
}

/** Gives every follower what it can take. Returns what must be read from disk for it first. */
export function sendAppends(state: RaftState): EntriesWanted[] {
  const wanted: EntriesWanted[] = [];
  for (const progress of state.progress.values()) {
    while (isAppendDue(state, progress)) {
      const first = firstToLoad(state, progress);
      if (first === null) {
        sendAppend(state, progress);
      } else {
        progress.isLoading = true;
        const last = state.log.tailFirst() - 1;
        const bytesMax = state.config.appendBytesMax;
        wanted.push({ first, last, bytesMax, purpose: progress.member });
      }
    }
  }
  return wanted;
}

export function hasAppendsDue(state: RaftState): boolean {
  for (const progress of state.progress.values()) if (isAppendDue(state, progress)) return true;
  return false;
}

/**
 * It answers heartbeats, but did not acknowledge in the time of one what it was sent: an append or
 * an answer was lost. The next append shows which.
 */
export function prodIfLost(state: RaftState, progress: Progress): void {
  if (state.ticks - progress.sentTick < state.config.heartbeatTicks) return;
  progress.probeSent = false;
  if (progress.match < state.log.last()) progress.prod = true;
}

/** What was read for a follower. It may have moved on since; then it is not needed. */
export function entriesLoadedFor(
  state: RaftState,
  wanted: EntriesWanted,
  entries: readonly Entry[],
): void {
  const progress = wanted.purpose === "apply" ? undefined : state.progress.get(wanted.purpose);
  if (progress === undefined || !progress.isLoading) return;
  progress.isLoading = false;
  keepLoaded(progress, wanted.first, entries);
}

function isAppendDue(state: RaftState, progress: Progress): boolean {
  if (progress.isLoading) return false;
  if (progress.state === "probe") return !progress.probeSent;
  const hasMore = progress.next <= state.log.last() && !progress.inflight.isFull();
  return hasMore || progress.prod || progress.commitSent < state.commit;
}

/** Where the disk must be read before the next append can be made; null: memory is enough. */
function firstToLoad(state: RaftState, progress: Progress): Index | null {
  const { log } = state;
  const { next } = progress;
  assert(next >= log.firstIndex(), "a follower needs what the log gave up");
  if (progress.previousTerm === null && log.termAt(next - 1) === null) return next - 1;
  return next >= log.tailFirst() || progress.loaded.length > 0 ? null : next;
}

function sendAppend(state: RaftState, progress: Progress): void {
  const { log, config, term, commit } = state;
  const previousIndex = progress.next - 1;
  const previousTerm = log.termAt(previousIndex) ?? progress.previousTerm;
  assert(previousTerm !== null, "the previous entry's term is not loaded");
  const entries = entriesFor(state, progress);
  send(state, {
    type: "append",
    from: config.id,
    to: progress.member,
    term,
    previous: { term: previousTerm, index: previousIndex },
    entries,
    commit,
  });
  progress.commitSent = commit;
  progress.sentTick = state.ticks;
  progress.prod = false;
  if (progress.state === "probe") {
    progress.probeSent = true;
  } else if (entries.length > 0) {
    noteSent(progress, entries);
  }
}

/** From memory, or what was loaded. None when the pipeline is full: then only commit travels. */
function entriesFor(state: RaftState, progress: Progress): readonly Entry[] {
  const { log, config } = state;
  const { next } = progress;
  if (next > log.last() || progress.inflight.isFull()) return [];
  if (next >= log.tailFirst()) return log.slice(next, log.last(), config.appendBytesMax);
  return progress.loaded;
}
