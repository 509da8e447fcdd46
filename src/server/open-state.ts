// Opening the state machine's store: backend, checks, key index, key space. Every row is read once,
// and must prove itself; whatever does not is damage, and damage means: wipe, and apply the log
// again from its start.
import { assert } from "../base/assert.ts";
import type { Logger } from "../base/logger.ts";
import { IndexLoader } from "../state/index-loader.ts";
import { TreeKeyIndex } from "../state/key-index-tree.ts";
import { Mvcc, neverCompacted } from "../state/mvcc.ts";
import {
  compactionRowPrefix,
  decodeCompactionRow,
  historyRowPrefix,
  latestRowPrefix,
} from "../state/mvcc-row.ts";
import { leaseRowPrefix, memberRowPrefix } from "../state/row-key.ts";
import { BackendDamageError } from "../store/backend.ts";
import type { Backend, BackendPlace, BackendSnapshot } from "../store/backend.ts";
import { CheckedStore } from "../store/checked-store.ts";
import { openEnvelope, prefixRange } from "../store/layout.ts";
import { leveldbDefaults } from "../store/leveldb-backend.ts";
import { scanPages } from "../store/scan.ts";

export interface OpenedState {
  readonly store: CheckedStore;
  readonly mvcc: Mvcc;
  /** For Leases.restore and Members.restore. */
  readonly leaseRows: readonly Uint8Array[];
  readonly memberRows: readonly Uint8Array[];
}

export type StateOpening =
  | { readonly type: "open"; readonly state: OpenedState }
  | { readonly type: "damaged"; readonly reason: string }
  | { readonly type: "newerFormat"; readonly version: number };

/**
 * A hole in LevelDB's log swallows what is in its two newest log files at most: each ends with the
 * batch that fills the write buffer, and a batch is as large as the overlay may grow.
 */
const journalSpanBytes = 2 * (leveldbDefaults.writeBufferBytes + (32 << 20));

const storeOptions = {
  indexedPrefixes: [latestRowPrefix, historyRowPrefix],
  summedPrefixes: [leaseRowPrefix, memberRowPrefix, compactionRowPrefix],
  journalSpanBytes,
};

/** Closes the backend unless it opens. */
export async function openState(backend: Backend): Promise<StateOpening> {
  let opening: StateOpening;
  try {
    opening = await openChecked(backend);
  } catch (error) {
    if (!(error instanceof BackendDamageError)) throw error;
    opening = { type: "damaged", reason: error.message };
  }
  if (opening.type !== "open") await backend.close();
  return opening;
}

/** Opens what is there, or an empty store in place of a damaged one. */
export async function openOrRebuild(deps: {
  place: BackendPlace;
  logger: Logger;
}): Promise<Exclude<StateOpening, { type: "damaged" }>> {
  const { place, logger } = deps;
  const found = await openPlace(place);
  if (found.type !== "damaged") return found;
  logger.warn({ reason: found.reason }, "state store is damaged: rebuilding it from the log");
  await place.wipe();
  const empty = await openPlace(place);
  assert(empty.type !== "damaged", "a wiped state store is damaged");
  return empty;
}

async function openPlace(place: BackendPlace): Promise<StateOpening> {
  const opening = await place.open();
  return opening.type === "open" ? await openState(opening.backend) : opening;
}

async function openChecked(backend: Backend): Promise<StateOpening> {
  const opening = await CheckedStore.open(backend, storeOptions);
  if (opening.type !== "open") return opening;
  const { store, summedRows } = opening;
  const index = new TreeKeyIndex();
  const loader = new IndexLoader(index, store.applied);
  const snapshot = backend.snapshot();
  try {
    const wrong =
      (await loadRows(snapshot, historyRowPrefix, (key, row) => loader.history(key, row))) ??
      (await loadRows(snapshot, latestRowPrefix, (key, row) => loader.latest(key, row))) ??
      loader.finish();
    if (wrong !== null) return { type: "damaged", reason: wrong };
  } finally {
    await snapshot.close();
  }
  const rowsOf = (prefix: number) =>
    summedRows.filter(({ key }) => key[0] === prefix).map(({ value }) => value);
  const [removed] = rowsOf(compactionRowPrefix);
  const removedRevision = removed === undefined ? neverCompacted : decodeCompactionRow(removed);
  const mvcc = new Mvcc({ store, index }, { removedRevision });
  const leaseRows = rowsOf(leaseRowPrefix);
  const memberRows = rowsOf(memberRowPrefix);
  return { type: "open", state: { store, mvcc, leaseRows, memberRows } };
}

/** Gives what is wrong; null: nothing. */
async function loadRows(
  snapshot: BackendSnapshot,
  prefix: number,
  load: (key: Uint8Array, row: Uint8Array) => string | null,
): Promise<string | null> {
  for await (const page of scanPages(snapshot, prefixRange(prefix))) {
    for (const { key, value } of page) {
      const row = openEnvelope(key, value);
      if (row === undefined) return "a row of the key space fails its checksum";
      const wrong = load(key, row);
      if (wrong !== null) return wrong;
    }
  }
  return null;
}
