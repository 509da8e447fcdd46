// Shows what is in a member's log, batch by batch and record by record, with the server's own
// decoder (rule W13); changes nothing. Commands are shown by length and CRC-32, never by content:
// they may hold secrets, and log lines get mailed around.
import { crc32 } from "node:zlib";
import { inspectDirectory, logDirectory } from "./data-directory.ts";
import type { Files } from "./files.ts";
import type { Batch } from "./scan.ts";
import { replayLog } from "./recovery.ts";
import type { WalRecord } from "./record.ts";
import { segmentName } from "./segment.ts";

/** One line of a dump: flat, so that it reads as text and as JSON. */
export type DumpLine = Readonly<Record<string, string | number | null | readonly string[]>>;

/** Gives every batch and record to `take`, in order. Throws DamageError where the log ends badly. */
export function dumpLog(files: Files, directory: string, take: (line: DumpLine) => void): void {
  const identity = inspectDirectory(files, directory);
  take({ type: "identity", ...identity });
  const { scan } = replayLog(files, logDirectory(directory), identity, (batch, records) => {
    take(batchLine(batch));
    for (const record of records) take(recordLine(record));
  });
  take({ type: "end", segment: scan.end.segment, page: scan.end.page, tornPages: scan.tornPages });
}

function batchLine({ header }: Batch): DumpLine {
  return {
    type: "batch",
    batch: header.batch,
    file: segmentName(header.segment),
    page: header.firstPage,
    pages: header.pageCount,
    durableIndex: header.durableIndex,
    durableSegment: header.durable.segment,
    durablePage: header.durable.page,
  };
}

function recordLine(record: WalRecord): DumpLine {
  switch (record.type) {
    case "entry": {
      const { term, index, kind, data: command } = record.entry;
      return { type: "entry", term, index, kind, bytes: command.length, crc32: crc32(command) };
    }
    case "hardState":
      return { type: "hardState", ...record.hardState };
    case "truncate":
      return { type: "truncate", from: record.from };
    case "checkpoint": {
      const { identity, base, lastIndex, hardState, configuration } = record.checkpoint;
      return {
        type: "checkpoint",
        ...identity,
        baseTerm: base.term,
        baseIndex: base.index,
        lastIndex,
        ...hardState,
        voters: configuration.voters,
        learners: configuration.learners,
      };
    }
  }
}

/** A line for people: the type, then the fields. */
export function dumpText(line: DumpLine): string {
  const fields = Object.entries(line).filter(([name]) => name !== "type");
  const words = fields.map(([name, value]) => `${name}=${String(value ?? "none")}`);
  return `${String(line["type"]).padEnd(10)} ${words.join(" ")}`;
}
