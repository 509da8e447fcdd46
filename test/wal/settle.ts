// Small machinery of the log's tests: a real clock that nobody reads the time from, and the
// in-thread log over simulated files.
import type { Clock } from "../../src/base/clock.ts";
import type { StoreId } from "../../src/base/ids.ts";
import { silentLogger } from "../../src/base/logger.ts";
import { openWal, type Wal, type WalOptions } from "../../src/wal/wal.ts";
import type { Files } from "../../src/wal/files.ts";
import { cluster, configuration, member } from "../contract/log.ts";

export const store = "00112233445566778899aabbccddeeff" as StoreId;
export const create = { cluster, member, configuration };

/** Eight pages: a roll every few batches. */
export const smallSegmentBytes = 8 * 4096;

export const realClock: Clock = {
  now: () => performance.now(),
  after(delayMs, fire) {
    const timer = setTimeout(fire, delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
  soon: (run) => void setImmediate(run),
};

export function throwFatal(error: Error): never {
  throw error;
}

export function openOn(files: Files, options: Partial<WalOptions> = {}): Promise<Wal> {
  return openWal({
    directory: "/member",
    create,
    clock: realClock,
    logger: silentLogger,
    fatal: throwFatal,
    segmentBytes: smallSegmentBytes,
    inThread: { files, store },
    ...options,
  });
}

/** Waits until something holds, a turn of the event loop at a time. */
export async function until(holds: () => boolean, turnsMax = 10_000): Promise<void> {
  for (let turn = 0; turn < turnsMax; turn++) {
    if (holds()) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
  throw new Error("what was waited for did not happen");
}
