// What consensus starts from, taken from the log: the newest entries, from the first that is not
// known committed. Older ones stay on disk; consensus asks for them when the machine or a follower
// is behind. So the tail is bounded by what may be uncommitted, whatever the log's length.
//
// The state store is a cache of this log. One that is ahead of it, or that applied another entry at
// an index of it, was made from another log: somebody put parts of two directories together, or an
// old log back. Nobody here can tell which part is the right one, so the start is refused.
import { assert } from "../base/assert.ts";
import type { Index } from "../base/ids.ts";
import type { RaftRestored } from "../raft/config.ts";
import type { Entry, EntryId } from "../raft/entry.ts";
import type { Log } from "../wal/log.ts";
import { StartError } from "./start-error.ts";

const readBytesMax = 4 << 20;

/** `applied`: the machine's. */
export async function restoreRaft(log: Log, applied: Index): Promise<RaftRestored> {
  const { hardState, configuration, firstIndex, lastIndex } = log.recovered;
  assert(applied <= lastIndex, `the machine is at ${applied}, but the log ends at ${lastIndex}`);
  const committed = Math.max(hardState.commit, applied);
  const first = Math.max(firstIndex, Math.min(committed + 1, lastIndex));
  const tail: Entry[] = [];
  while (first + tail.length <= lastIndex) {
    tail.push(...(await log.read(first + tail.length, lastIndex, readBytesMax)));
  }
  const [before] = first > firstIndex ? await log.read(first - 1, first - 1, readBytesMax) : [];
  const termBeforeTail = before?.term ?? 0;
  return { hardState, configuration, tail, termBeforeTail, firstIndex, applied };
}

/** `applied`: of the state store in the same directory. */
export async function refuseForeignState(
  log: Log,
  applied: EntryId,
  directory: string,
): Promise<void> {
  const { firstIndex, lastIndex } = log.recovered;
  if (applied.index > lastIndex) {
    throw foreignState(directory, applied, `the log ends at ${lastIndex}`);
  }
  if (applied.index < firstIndex) return;
  const [entry] = await log.read(applied.index, applied.index, readBytesMax);
  if (entry?.term !== applied.term) {
    throw foreignState(directory, applied, `that entry of the log is of term ${entry?.term}`);
  }
}

function foreignState(directory: string, { index, term }: EntryId, fact: string): StartError {
  return new StartError(
    `${directory}/state was not made from ${directory}/wal: it has applied entry ${index} of term ` +
      `${term}, and ${fact}; put both back from the same copy, or, if wal is this member's own ` +
      "and newest, remove state: it is made again from the log",
  );
}
