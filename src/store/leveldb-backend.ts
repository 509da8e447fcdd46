// The backend in LevelDB (package `level`): one directory, opened by one process.
//
// LevelDB as shipped drops what it cannot read of its log, and says so only in its text file LOG;
// and it makes an empty store when CURRENT is missing. So opening looks at the files before and at
// LOG after, and calls all of it damage. It is never repaired (L6). What is left of holes is found
// by the rows themselves (checked-store.ts, server/open-state.ts).
//
// The file DAMAGED in the directory is our marker: written before a process stops because a row
// was wrong, it outlives the crash and turns the next open into a rebuild.
import { Level } from "level";
import { writeFileSync } from "node:fs";
import { mkdir, readFile, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { assert } from "../base/assert.ts";
import { BackendDamageError } from "./backend.ts";
import type {
  Backend,
  BackendOpening,
  BackendOperation,
  BackendPlace,
  BackendRow,
  BackendSnapshot,
  KeyRange,
  RowLimits,
} from "./backend.ts";

/**
 * abstract-level's call for implementations: rows as the binding takes them. Its public form,
 * batch(), first clones, checks and encodes every row, at a third of a follower's CPU under puts.
 */
interface RowBatch {
  _batch(operations: readonly BackendOperation[], options: { sync: boolean }): Promise<void>;
}

type Database = Level<Uint8Array, Uint8Array> & RowBatch;
type DatabaseSnapshot = ReturnType<Database["snapshot"]>;

export interface LeveldbOptions {
  /** LevelDB's log and memory table; also half of what a hole in its log can swallow. */
  readonly writeBufferBytes: number;
  /** Of uncompressed table blocks. */
  readonly cacheBytes: number;
}

export const leveldbDefaults: LeveldbOptions = {
  // LevelDB's own: two are in memory while one is written, in pieces that malloc hardly reuses.
  writeBufferBytes: 4 * 1024 * 1024,
  cacheBytes: 32 * 1024 * 1024,
};

const markerName = "DAMAGED";
const bytesEncoding = { keyEncoding: "buffer", valueEncoding: "buffer" } as const;

export class LeveldbPlace implements BackendPlace {
  readonly #directory: string;
  readonly #options: LeveldbOptions;

  constructor(directory: string, options = leveldbDefaults) {
    this.#directory = directory;
    this.#options = options;
  }

  async open(): Promise<BackendOpening> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const before = await damageOfFiles(this.#directory);
    if (before !== null) return { type: "damaged", reason: before };
    const level = new Level<Uint8Array, Uint8Array>(this.#directory, {
      ...bytesEncoding,
      writeBufferSize: this.#options.writeBufferBytes,
      cacheSize: this.#options.cacheBytes,
      // Values are few and short, or compressed by who wrote them: what Snappy gains in space is
      // less than the tenth of a put's CPU that it takes in every compaction.
      compression: false,
    }) as Database;
    try {
      await level.open();
    } catch (error) {
      // Of open() only: what is wrong with the content is damage, the rest (lock, permission,
      // disk full) is for the operator.
      const cause = damageOr(error instanceof Error ? error.cause : error);
      if (!(cause instanceof BackendDamageError)) throw error;
      return { type: "damaged", reason: `LevelDB does not open: ${cause.message}` };
    }
    const after = await damageOfLog(this.#directory);
    if (after !== null) {
      await level.close();
      return { type: "damaged", reason: after };
    }
    return { type: "open", backend: new LeveldbBackend(level, this.#directory) };
  }

  async wipe(): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}

/** LevelDB's complaints about its files, as the contract names them; other errors unchanged. */
function damageOr(error: unknown): unknown {
  return error instanceof Error && codeOf(error) === "LEVEL_CORRUPTION"
    ? new BackendDamageError(error.message, { cause: error })
    : error;
}

/** Found before LevelDB is let near the files; null: nothing. */
async function damageOfFiles(directory: string): Promise<string | null> {
  const names = await readdir(directory);
  if (names.includes(markerName)) {
    return `marked: ${await readFile(join(directory, markerName), "utf8")}`;
  }
  const hasContent = names.some((name) => /\.(ldb|sst|log)$|^MANIFEST-/.test(name));
  if (!hasContent) return null;
  if (!names.includes("CURRENT")) return "the file CURRENT is missing";
  const manifest = (await readFile(join(directory, "CURRENT"), "latin1")).trim();
  return names.includes(manifest) ? null : `CURRENT names ${manifest}, which is missing`;
}

// LOG.old is the LOG of the open before: a process may have died between its open and this check.
async function damageOfLog(directory: string): Promise<string | null> {
  for (const name of ["LOG", "LOG.old"]) {
    const text = await readFile(join(directory, name), "latin1").catch((error: unknown) => {
      if (codeOf(error) === "ENOENT") return "";
      throw error;
    });
    const line = text.split("\n").find((text) => /dropping|ignoring error/i.test(text));
    if (line !== undefined) return `LevelDB lost rows: ${line}`;
  }
  return null;
}

class LeveldbBackend implements Backend {
  readonly #level: Database;
  readonly #directory: string;

  constructor(level: Database, directory: string) {
    this.#level = level;
    this.#directory = directory;
  }

  getSync(key: Uint8Array): Uint8Array | undefined {
    try {
      return this.#level.getSync(key);
    } catch (error) {
      throw damageOr(error);
    }
  }

  async write(
    operations: readonly BackendOperation[],
    options: { sync: boolean } = { sync: false },
  ): Promise<void> {
    // The binding does not look whether it is open. A chained batch is no way: its native memory
    // stays until it is collected, and V8 does not know how much that is.
    assert(this.#level.status === "open", "a batch after the store was closed");
    if (operations.length > 0) await this.#level._batch(operations, options);
  }

  snapshot(): BackendSnapshot {
    return new LeveldbSnapshot(this.#level, this.#level.snapshot());
  }

  async diskBytes(): Promise<number> {
    let bytes = 0;
    for (const name of await readdir(this.#directory)) {
      // Files come and go under LevelDB's own compaction.
      const found = await stat(join(this.#directory, name)).catch((error: unknown) => {
        if (codeOf(error) === "ENOENT") return null;
        throw error;
      });
      bytes += found?.size ?? 0;
    }
    return bytes;
  }

  markDamaged(reason: string): void {
    writeFileSync(join(this.#directory, markerName), reason, { flush: true });
  }

  async close(): Promise<void> {
    await this.#level.close();
  }
}

class LeveldbSnapshot implements BackendSnapshot {
  readonly #level: Database;
  readonly #snapshot: DatabaseSnapshot;

  constructor(level: Database, snapshot: DatabaseSnapshot) {
    this.#level = level;
    this.#snapshot = snapshot;
  }

  async rows(range: KeyRange, limits: RowLimits): Promise<BackendRow[]> {
    const iterator = this.#level.iterator({
      gte: range.first,
      lt: range.end,
      snapshot: this.#snapshot,
      fillCache: false,
      highWaterMarkBytes: limits.bytesMax,
    });
    try {
      const entries = await iterator.nextv(limits.rowsMax);
      return entries.map(([key, value]) => ({ key, value }));
    } catch (error) {
      throw damageOr(error);
    } finally {
      await iterator.close();
    }
  }

  async close(): Promise<void> {
    await this.#snapshot.close();
  }
}
