// What consensus starts from, taken from the log: the newest entries, from the first that is not
// known committed. Older ones stay on disk; consensus asks for them when the machine or a follower
// is behind. So the tail is bounded by what may be uncommitted, whatever the log's length.
import { assert } from "../base/assert.ts";
import type { Index } from "../base/ids.ts";
import type { RaftRestored } from "../raft/config.ts";
import type { Entry } from "../raft/entry.ts";
import type { Log } from "../wal/log.ts";

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
