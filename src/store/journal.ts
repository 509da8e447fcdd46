// The journal: one row per batch, kept for longer than a hole in LevelDB's log can be (L2).
//
// LevelDB replays what it can of a damaged log and drops the rest, so batches vanish from the
// middle while the newest applied record stays. Batches are numbered, name the indexes they
// applied, and are chained by CRC; at open the rows from the oldest kept to the newest must be
// there without gap. The applied record says which these are.
import type { BackendSnapshot } from "./backend.ts";
import {
  decodeJournalRow,
  journalKey,
  journalPrefix,
  openEnvelope,
  prefixRange,
} from "./layout.ts";
import type { AppliedRecord, JournalRow } from "./layout.ts";
import { scanPages } from "./scan.ts";

export class Journal {
  /** Rows of batches with fewer newer bytes than this are kept. */
  readonly #spanBytes: number;
  // Bytes of each kept batch, oldest first, from #start on.
  #batchBytes: number[] = [];
  #start = 0;
  #keptBytes = 0;
  #batchFirst: number;

  constructor(spanBytes: number, batchFirst: number) {
    this.#spanBytes = spanBytes;
    this.#batchFirst = batchFirst;
  }

  batchFirst(): number {
    return this.#batchFirst;
  }

  /** Takes a batch found at open, in order. */
  restore(bytes: number): void {
    this.#batchBytes.push(bytes);
    this.#keptBytes += bytes;
  }

  /** Takes the next batch; gives the batches whose rows are no longer needed. */
  add(bytes: number): number[] {
    this.restore(bytes);
    const dropped: number[] = [];
    for (;;) {
      const oldest = this.#batchBytes[this.#start];
      if (oldest === undefined || this.#keptBytes - oldest < this.#spanBytes) break;
      this.#keptBytes -= oldest;
      this.#start++;
      dropped.push(this.#batchFirst++);
    }
    if (this.#start > 1024 && this.#start * 2 > this.#batchBytes.length) {
      this.#batchBytes = this.#batchBytes.slice(this.#start);
      this.#start = 0;
    }
    return dropped;
  }
}

/** Reads the journal that `record` speaks of; a string: what is wrong with it. */
export async function openJournal(
  snapshot: BackendSnapshot,
  record: AppliedRecord,
  spanBytes: number,
): Promise<Journal | string> {
  const journal = new Journal(spanBytes, record.batchFirst);
  let batch = record.batchFirst - 1;
  let before: JournalRow | null = null;
  for await (const page of scanPages(snapshot, prefixRange(journalPrefix))) {
    for (const { key, value } of page) {
      batch++;
      if (Buffer.compare(key, journalKey(batch)) !== 0) return `the journal lacks batch ${batch}`;
      const payload = openEnvelope(key, value);
      if (payload === undefined) return `journal row ${batch} is damaged`;
      const row = decodeJournalRow(payload);
      if (before !== null && !follows(row, before)) {
        return `journal row ${batch} does not follow the one before`;
      }
      journal.restore(row.bytes);
      before = row;
    }
  }
  if (batch !== record.batch) return `the journal ends at batch ${batch}, not ${record.batch}`;
  const last = before ?? { last: 0, chain: 0 };
  if (last.last !== record.applied.index || last.chain !== record.chain) {
    return "the journal does not end at the applied index";
  }
  return journal;
}

function follows(row: JournalRow, before: JournalRow): boolean {
  return row.first === before.last + 1 && row.chainBefore === before.chain;
}
