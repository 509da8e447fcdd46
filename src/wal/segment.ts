// The files of the log: their names, and how a new one comes to be (rule W10).
//
//   prepared-N.tmp ── zeros written and synced slice by slice ──► prepared-N ── roll ──► segment-N.wal
//                     then renamed, directory synced              renamed, directory synced
//
// A crash leaves a .tmp, which the next start removes, or a whole prepared file, which it uses. So
// a file named segment or prepared is allocated in full and was never written but with zeros: a
// batch changes no metadata, and what is not zero in it was written by the log. A sealed segment is
// cut to the pages in use; the bytes cut off belong to no batch that counts.
//
// Preparing never delays a batch: it runs slice by slice in a thread of its own (prepare-worker.ts).
import { assert } from "../base/assert.ts";
import type { Files } from "./files.ts";
import { pageBytes } from "./page.ts";

export const segmentBytesDefault = 64 * 1024 * 1024;
/** One written ahead to go on in, one spare for when the disk is full (rule W11). */
export const preparedWanted = 2;

const sliceBytes = 1024 * 1024;
const idDigits = 16;

export function segmentName(id: number): string {
  return `segment-${String(id).padStart(idDigits, "0")}.wal`;
}

export function preparedName(id: number): string {
  return `prepared-${String(id).padStart(idDigits, "0")}`;
}

function numbersIn(names: readonly string[], pattern: RegExp): number[] {
  return names
    .map((name) => pattern.exec(name)?.[1])
    .filter((digits) => digits !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
}

/** Ids of the segments among these names, ascending. */
export function segmentIds(names: readonly string[]): number[] {
  return numbersIn(names, /^segment-(\d{16})\.wal$/);
}

/** Numbers of the prepared files among these names, ascending. */
export function preparedNumbers(names: readonly string[]): number[] {
  return numbersIn(names, /^prepared-(\d{16})$/);
}

export interface Preparation {
  readonly directory: string;
  /** Of the finished file. */
  readonly name: string;
  readonly bytes: number;
}

/** Makes one prepared file, a slice a step. After a step threw it is of no more use. */
export class SegmentPreparer {
  readonly #files: Files;
  readonly #preparation: Preparation;
  readonly #draft: string;
  readonly #zeros: Uint8Array;
  #file: number | null = null;
  #filled = 0;

  constructor(files: Files, preparation: Preparation) {
    assert(preparation.bytes % pageBytes === 0, "a segment is not whole pages");
    this.#files = files;
    this.#preparation = preparation;
    this.#draft = `${preparation.directory}/${preparation.name}.tmp`;
    this.#zeros = new Uint8Array(Math.min(sliceBytes, preparation.bytes));
  }

  /** True when the file has its final name. */
  step(): boolean {
    try {
      return this.#step();
    } catch (error) {
      this.#abandon();
      throw error;
    }
  }

  #step(): boolean {
    const files = this.#files;
    const { directory, name, bytes } = this.#preparation;
    this.#file ??= files.open(this.#draft, "create");
    const count = Math.min(this.#zeros.length, bytes - this.#filled);
    files.write(this.#file, this.#zeros.subarray(0, count), this.#filled);
    files.sync(this.#file);
    this.#filled += count;
    if (this.#filled < bytes) return false;
    files.close(this.#file);
    this.#file = null;
    files.rename(this.#draft, `${directory}/${name}`);
    files.syncDirectory(directory);
    return true;
  }

  /** Gives the space back: what is left of the disk is the log's. */
  #abandon(): void {
    if (this.#file === null) return;
    this.#files.close(this.#file);
    this.#file = null;
    this.#files.unlink(this.#draft);
  }
}

/** Makes one prepared file at once; for a start, and for when none is ready in time. */
export function prepareNow(files: Files, preparation: Preparation): void {
  const preparer = new SegmentPreparer(files, preparation);
  while (!preparer.step());
}

export function isDiskFull(error: unknown): boolean {
  if (!(error instanceof Error) || !("code" in error)) return false;
  return error.code === "ENOSPC" || error.code === "EDQUOT";
}

/** Removes what an interrupted preparation left. */
export function removeDrafts(files: Files, directory: string): void {
  for (const name of files.list(directory) ?? []) {
    if (name.endsWith(".tmp")) files.unlink(`${directory}/${name}`);
  }
}
