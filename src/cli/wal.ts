// `keelson wal verify DIR` and `keelson wal dump DIR [--json]`: offline looks at a stopped member's
// log. They change nothing, take no lock, and talk to no member.
//
// Exit codes: 0 the log is whole; 1 it is damaged or cannot be read; 2 wrong use.
import { memberDirectory } from "../wal/data-directory.ts";
import { dumpLog, dumpText, type DumpLine } from "../wal/dump.ts";
import { nodeFiles } from "../wal/node-files.ts";
import { verifyLog, type VerifyReport } from "../wal/verify.ts";
import { WalError } from "../wal/wal-error.ts";

export interface WalOutput {
  out(text: string): void;
  error(text: string): void;
}

const usage = `Usage:
  keelson wal verify <dir>          check every page and record of the log
  keelson wal dump <dir> [--json]   print every batch and record

<dir> is the member's data directory; stop the member first.
`;

const standardOutput: WalOutput = {
  out: (text) => void process.stdout.write(text),
  error: (text) => void process.stderr.write(text),
};

/** Runs the command after `keelson wal`, and returns its exit code. */
export function runWal(args: readonly string[], output: WalOutput = standardOutput): number {
  const isJson = args.includes("--json");
  const [command, dataDirectory, ...rest] = args.filter((arg) => arg !== "--json");
  const isVerify = command === "verify" && !isJson;
  if ((!isVerify && command !== "dump") || dataDirectory === undefined || rest.length > 0) {
    output.error(usage);
    return 2;
  }
  try {
    const directory = memberDirectory(nodeFiles, dataDirectory);
    return isVerify ? verify(directory, output) : dump(directory, isJson, output);
  } catch (error) {
    if (!(error instanceof WalError) && !isSystemError(error)) throw error;
    output.error(`keelson wal: ${error.message}\n`);
    return 1;
  }
}

function isSystemError(error: unknown): error is Error {
  return error instanceof Error && "syscall" in error;
}

function verify(directory: string, output: WalOutput): number {
  const report = verifyLog(nodeFiles, directory);
  output.out(verifyText(report));
  return report.result.state === "whole" ? 0 : 1;
}

function verifyText({ identity, counts, isQuarantined, result }: VerifyReport): string {
  const lines = [
    `member ${identity.member} of cluster ${identity.cluster}, store ${identity.store}, ` +
      `start ${identity.start}`,
    `read ${counts.batches} batches, ${counts.pages} pages, ${counts.records} records`,
  ];
  if (isQuarantined) lines.push("quarantined: a start found damage here");
  if (result.state === "damaged") {
    lines.push(`DAMAGED: ${result.segment}, page ${result.page}: ${result.reason}`);
  } else {
    const { term, vote, commit } = result.hardState;
    lines.push(
      `segments ${result.segments.length}, entries ${result.firstIndex}..${result.lastIndex}, ` +
        `term ${term}, vote ${vote ?? "none"}, commit ${commit}`,
      result.tornPages === 0
        ? "whole"
        : `whole; ${result.tornPages} pages of a torn last batch, acknowledged to nobody`,
    );
  }
  return `${lines.join("\n")}\n`;
}

function dump(directory: string, isJson: boolean, output: WalOutput): number {
  const text = (line: DumpLine): string => (isJson ? JSON.stringify(line) : dumpText(line));
  dumpLog(nodeFiles, directory, (line) => output.out(`${text(line)}\n`));
  return 0;
}
