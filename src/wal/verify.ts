// Says of a member's log whether all of it reads back, without changing anything: the server's own
// decoder, run offline (rule W13). On the log of a running member the newest batch may look torn.
import type { Files } from "./files.ts";
import { inspectDirectory, logDirectory } from "./data-directory.ts";
import { readSmallFile } from "./files.ts";
import type { Identity } from "./log.ts";
import type { HardState } from "../raft/entry.ts";
import type { Index } from "../base/ids.ts";
import { applyBatch, quarantineName, replayLog } from "./recovery.ts";
import { DamageError } from "./scan.ts";
import { segmentName } from "./segment.ts";

export interface VerifyCounts {
  readonly batches: number;
  readonly pages: number;
  readonly records: number;
}

export type VerifyResult =
  | {
      readonly state: "whole";
      readonly segments: readonly string[];
      readonly voidSegments: readonly string[];
      readonly firstIndex: Index;
      readonly lastIndex: Index;
      readonly hardState: HardState;
      readonly tornPages: number;
    }
  | {
      readonly state: "damaged";
      readonly segment: string;
      readonly page: number;
      readonly reason: string;
    };

export interface VerifyReport {
  readonly identity: Identity;
  /** What was read before the damage, or all. */
  readonly counts: VerifyCounts;
  readonly isQuarantined: boolean;
  readonly result: VerifyResult;
}

export function verifyLog(files: Files, directory: string): VerifyReport {
  const identity = inspectDirectory(files, directory);
  const path = logDirectory(directory);
  const counts = { batches: 0, pages: 0, records: 0 };
  const isQuarantined = readSmallFile(files, path, quarantineName) !== null;
  try {
    const { state, last, scan } = replayLog(files, path, identity, (batch, records) => {
      counts.batches++;
      counts.pages += batch.header.pageCount;
      counts.records += records.length;
    });
    applyBatch(state, last);
    const result: VerifyResult = {
      state: "whole",
      segments: scan.segments.map(segmentName),
      voidSegments: scan.voidSegments.map(segmentName),
      firstIndex: state.firstIndex(),
      lastIndex: state.lastIndex(),
      hardState: state.hardState(),
      tornPages: scan.tornPages,
    };
    return { identity, counts, isQuarantined, result };
  } catch (error) {
    if (!(error instanceof DamageError)) throw error;
    const { place, reason } = error;
    const segment = segmentName(place.segment);
    const result: VerifyResult = { state: "damaged", segment, page: place.page, reason };
    return { identity, counts, isQuarantined, result };
  }
}
