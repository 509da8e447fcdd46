// The machine's transcripts: txn and lease. Beside the commands of machine-text.ts:
//   get     a range, read after the last command
//   plan    what a transaction would do, without an entry
//   term N  entries that follow are of this term
//   leases  the lease table;  members  the member table;  state  revision and applied entry
import type { Machine } from "../../src/state/machine.ts";
import { testTranscripts } from "../transcript.ts";
import type { TranscriptRun } from "../transcript.ts";
import { applyRequest, newMachine } from "./machine-fixture.ts";
import { appliedText, rangeLines, rangeOf, requestOf, txnOf } from "./machine-text.ts";

function start(): TranscriptRun {
  const machine = newMachine();
  let term = 1;
  return (command, args, more) => {
    if (command === "term") {
      term = Number(args[0]);
      return "";
    }
    const request = requestOf(command, args, more, { term, index: machine.appliedId().index });
    if (request !== null) return appliedText(applyRequest(machine, request, term));
    return inspect(machine, command, args, more);
  };
}

function inspect(machine: Machine, command: string, args: string[], more: string[]): string {
  switch (command) {
    case "get": {
      const response = machine.mvcc.range(rangeOf(args));
      return typeof response === "string" ? `error ${response}` : rangeLines(response).join("\n");
    }
    case "plan": {
      const plan = machine.planTxn(txnOf(more));
      if (typeof plan === "string") return `error ${plan}`;
      return `${plan.succeeded ? "success" : "failure"}, ${plan.operations.length} operations`;
    }
    case "leases":
      return machine.leases
        .list()
        .map((id) => {
          const keys = machine.leases.keys(id).map((key) => Buffer.from(key).toString("latin1"));
          return [id, `${machine.leases.get(id)?.ttl} s`, ...keys].join(" ");
        })
        .join("\n");
    case "members":
      return machine.members
        .list()
        .map(({ id, name, storeId, clientUrls }) =>
          [id, name, storeId ?? "-", ...clientUrls].join(" "),
        )
        .join("\n");
    case "state":
      return `revision ${machine.mvcc.revision()}, applied ${machine.appliedId().index} of term ${machine.appliedId().term}`;
    default:
      throw new Error(`no command ${command}`);
  }
}

testTranscripts("txn", start);
testTranscripts("lease", start);
