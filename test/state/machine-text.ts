// The machine in words, for transcripts: a command line to a request, and an outcome to text.
//
//   put KEY VALUE [lease=ID] [prev] [ignore-value] [ignore-lease]
//   del KEY [END] [prev]
//   get KEY [END] [rev=N] [limit=N] [keys-only] [count-only]
//   txn, with lines "? TARGET KEY [END] =|!=|<|> OPERAND", "+ operation", "- operation"; a nested
//   transaction is "+ txn" with its lines indented by two more spaces
//   compact REV, grant ID TTL, revoke ID, publish MEMBER NAME STORE URL...
//   expire ID... [of=TERM] [judged=INDEX], by itself of this term and judged just now
//
// END "*" is the range end that means: no upper bound. KEY "^" is the zero byte.
import type { Index, Term } from "../../src/base/ids.ts";
import { DeleteRangeRequest, PutRequest, RangeRequest } from "../../src/proto/etcdserverpb/kv.ts";
import type {
  Compare,
  RangeResponse,
  RequestOp,
  ResponseOp,
  TxnRequest,
} from "../../src/proto/etcdserverpb/kv.ts";
import type { Event, KeyValue } from "../../src/proto/mvccpb/kv.ts";
import type { CommandRequest } from "../../src/state/command.ts";
import type { AppliedEntry, Outcome } from "../../src/state/outcome.ts";

export function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replace("^", "\0"), "latin1"));
}

interface Words {
  /** In order, without options. */
  readonly plain: string[];
  readonly options: Map<string, string>;
}

const flags = ["prev", "ignore-value", "ignore-lease", "keys-only", "count-only"];

function wordsOf(args: readonly string[]): Words {
  const plain: string[] = [];
  const options = new Map<string, string>();
  for (const arg of args) {
    const [name = "", value] = arg.split("=");
    if (value !== undefined) options.set(name, value);
    else if (flags.includes(arg)) options.set(arg, "");
    else plain.push(arg);
  }
  return { plain, options };
}

function endOf(text: string | undefined): Uint8Array {
  return text === undefined ? new Uint8Array(0) : text === "*" ? new Uint8Array(1) : bytesOf(text);
}

export function putOf(args: readonly string[]): PutRequest {
  const { plain, options } = wordsOf(args);
  return PutRequest.fromPartial({
    key: bytesOf(plain[0] ?? ""),
    value: bytesOf(plain[1] ?? ""),
    lease: options.get("lease") ?? "0",
    prevKv: options.has("prev"),
    ignoreValue: options.has("ignore-value"),
    ignoreLease: options.has("ignore-lease"),
  });
}

export function deleteOf(args: readonly string[]): DeleteRangeRequest {
  const { plain, options } = wordsOf(args);
  const prevKv = options.has("prev");
  return DeleteRangeRequest.fromPartial({
    key: bytesOf(plain[0] ?? ""),
    rangeEnd: endOf(plain[1]),
    prevKv,
  });
}

export function rangeOf(args: readonly string[]): RangeRequest {
  const { plain, options } = wordsOf(args);
  return RangeRequest.fromPartial({
    key: bytesOf(plain[0] ?? ""),
    rangeEnd: endOf(plain[1]),
    revision: Number(options.get("rev") ?? 0),
    limit: Number(options.get("limit") ?? 0),
    keysOnly: options.has("keys-only"),
    countOnly: options.has("count-only"),
  });
}

const targets = ["version", "create", "mod", "value", "lease"] as const;
const results: Readonly<Record<string, Compare["result"]>> = { "=": 0, ">": 1, "<": 2, "!=": 3 };

function compareOf(args: readonly string[]): Compare {
  const at = args.findIndex((arg) => arg in results);
  const [targetName = "", key = "", end] = args.slice(0, at);
  const operand = args[at + 1] ?? "";
  const target = targets.findIndex((name) => name === targetName) as Compare["target"];
  return {
    result: results[args[at] ?? ""] ?? 0,
    target,
    key: bytesOf(key),
    rangeEnd: endOf(end),
    targetUnion: operandOf(targetName, operand),
  };
}

function operandOf(target: string, operand: string): Compare["targetUnion"] {
  switch (target) {
    case "version":
      return { $case: "version", value: Number(operand) };
    case "create":
      return { $case: "createRevision", value: Number(operand) };
    case "mod":
      return { $case: "modRevision", value: Number(operand) };
    case "value":
      return { $case: "value", value: bytesOf(operand) };
    case "lease":
      return { $case: "lease", value: operand };
    default:
      throw new Error(`no compare target ${target}`);
  }
}

export function txnOf(lines: readonly string[]): TxnRequest {
  const txn: TxnRequest = { compare: [], success: [], failure: [] };
  for (let i = 0; i < lines.length; i++) {
    const [sign, word = "", ...args] = (lines[i] ?? "").trim().split(/\s+/);
    const inner: string[] = [];
    while (lines[i + 1]?.startsWith("  ")) inner.push((lines[++i] ?? "").slice(2));
    if (sign === "?") txn.compare.push(compareOf([word, ...args]));
    else (sign === "+" ? txn.success : txn.failure).push(operationOf(word, args, inner));
  }
  return txn;
}

function operationOf(word: string, args: string[], inner: string[]): RequestOp {
  switch (word) {
    case "get":
      return { request: { $case: "requestRange", value: rangeOf(args) } };
    case "put":
      return { request: { $case: "requestPut", value: putOf(args) } };
    case "del":
      return { request: { $case: "requestDeleteRange", value: deleteOf(args) } };
    case "txn":
      return { request: { $case: "requestTxn", value: txnOf(inner) } };
    default:
      throw new Error(`no operation ${word}`);
  }
}

/** Null: not a command of the log. */
export function requestOf(
  command: string,
  args: string[],
  more: string[],
  now: { term: Term; index: Index },
): CommandRequest | null {
  const [first = "", second = "", third = ""] = args;
  switch (command) {
    case "put":
      return { $case: "put", value: putOf(args) };
    case "del":
      return { $case: "deleteRange", value: deleteOf(args) };
    case "txn":
      return { $case: "txn", value: txnOf(more) };
    case "compact":
      return { $case: "compaction", value: { revision: Number(first), physical: false } };
    case "grant":
      return { $case: "leaseGrant", value: { ID: first, TTL: Number(second) } };
    case "revoke":
      return { $case: "leaseRevoke", value: { ID: first } };
    case "expire": {
      const { plain, options } = wordsOf(args);
      const term = Number(options.get("of") ?? now.term);
      const judgedIndex = Number(options.get("judged") ?? now.index);
      return { $case: "leaseExpire", value: { IDs: plain, term, judgedIndex } };
    }
    case "publish": {
      const clientUrls = args.slice(3);
      const value = { member: first, name: second, storeId: third, clientUrls };
      return { $case: "memberAttributes", value };
    }
    default:
      return null;
  }
}

const text = (bytes: Uint8Array): string =>
  Buffer.from(bytes).toString("latin1").replace("\0", "^");

export function pairText(kv: KeyValue): string {
  const lease = kv.lease === "0" ? "" : ` lease ${kv.lease}`;
  const { createRevision, modRevision, version } = kv;
  return `${text(kv.key)}=${text(kv.value)} (${createRevision},${modRevision},${version})${lease}`;
}

function eventText({ type, kv }: Event): string {
  if (kv === undefined) throw new Error("an event has a key");
  return type === 0 ? `put ${pairText(kv)}` : `delete ${text(kv.key)} (${kv.modRevision})`;
}

const revisionText = (response: { header: { revision: number } | undefined }): string =>
  `@${response.header?.revision}`;

export function rangeLines(response: RangeResponse): string[] {
  const more = response.more ? " more" : "";
  return [
    `${response.count} found${more} ${revisionText(response)}`,
    ...response.kvs.map(pairText),
  ];
}

function operationLines({ response }: ResponseOp): string[] {
  switch (response?.$case) {
    case "responseRange":
      return rangeLines(response.value);
    case "responsePut":
      return outcomeLines({ type: "put", response: response.value });
    case "responseDeleteRange":
      return outcomeLines({ type: "deleteRange", response: response.value });
    case "responseTxn":
      return outcomeLines({ type: "txn", response: response.value });
    case undefined:
      return ["nothing"];
  }
}

const indented = (lines: readonly string[]): string[] => lines.map((line) => `  ${line}`);

export function outcomeLines(outcome: Outcome): string[] {
  switch (outcome.type) {
    case "error":
      return [`error ${outcome.code}`];
    case "put": {
      const { prevKv } = outcome.response;
      const before = prevKv === undefined ? [] : [`before ${pairText(prevKv)}`];
      return [`put ${revisionText(outcome.response)}`, ...before];
    }
    case "deleteRange": {
      const { deleted, prevKvs } = outcome.response;
      const before = prevKvs.map((kv) => `before ${pairText(kv)}`);
      return [`deleted ${deleted} ${revisionText(outcome.response)}`, ...before];
    }
    case "txn": {
      const branch = outcome.response.succeeded ? "success" : "failure";
      const lines = outcome.response.responses.flatMap(operationLines);
      return [`${branch} ${revisionText(outcome.response)}`, ...indented(lines)];
    }
    case "compaction":
      return [`compacted ${revisionText(outcome.response)}`];
    case "leaseGrant": {
      const { ID, TTL } = outcome.response;
      return [`granted ${ID} ${TTL} s ${revisionText(outcome.response)}`];
    }
    case "leaseRevoke":
      return [`revoked ${revisionText(outcome.response)}`];
    case "none":
      return ["done"];
  }
}

/** The outcome, then the events it made. */
export function appliedText({ outcome, events }: AppliedEntry): string {
  const lines = events === null ? [] : events.events.map((event) => `! ${eventText(event)}`);
  return [...outcomeLines(outcome), ...lines].join("\n");
}
