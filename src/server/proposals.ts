// Commands of this member's callers on their way through the log: kept until their outcome is
// applied here, their deadline passes, or it is proven that they never will be.
//
//           add            hand                      resolve
//   caller ----> queued ----------> sent(term, batch) --------> outcome
//                  ^                   |    |
//                  |                   |    +--> refused: the leader is at its limit
//                  +-------------------+ an entry of a later term was applied
//
// A command is sent within one term only (consensus drops it in any other), so once an entry of a
// later term is applied, a sent command that has no outcome is in no log that can still be
// committed: it is queued again, and its caller notices nothing of the failover (why this is safe:
// docs/adr/0007). Until that proof its fate is unknown, and a caller who gives up gets etcd's
// timeout; one whose command never left gets an error that says so.
//
// One sweep a period ends what is late; there is no timer for a call. Not here: what a command
// means, and whether this member leads.
import { putVarint, varintBytes } from "../base/bytes.ts";
import { RequestError } from "../base/errors.ts";
import type { ErrorCode } from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import type { Term } from "../base/ids.ts";
import type { ProposalRef } from "../proto/keelson/command.ts";
import { ProposalRef as ProposalRefForm } from "../proto/keelson/command.ts";
import type { Raft } from "../raft/raft.ts";
import type { Outcome } from "../state/outcome.ts";
import type { Identity } from "../wal/log.ts";
import type { CallLimits, LeaderView } from "./call-limits.ts";
import type { NodeOptions } from "./node-options.ts";

interface Proposal {
  readonly sequence: number;
  /** With its reference: the bytes that go into the log. */
  readonly command: Uint8Array;
  readonly deadline: number;
  readonly limits: CallLimits;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: RequestError) => void;
  /** 0: queued. Otherwise the term in which consensus took it. */
  sentTerm: Term;
  /** The batch it was handed over in; 0: queued. */
  batch: number;
}

export class Proposals {
  readonly #clock: Clock;
  readonly #identity: Identity;
  readonly #references: ReferenceWriter;
  readonly #options: NodeOptions;
  /** Queued and sent. At most proposalsPendingMax, and proposalBytesPendingMax together. */
  readonly #pending = new Map<number, Proposal>();
  /** Queued, oldest first; may name proposals that are no longer pending. */
  #queue: Proposal[] = [];
  #pendingBytes = 0;
  #failedCount = 0;
  #sequence = 0;
  #lastBatch = 0;
  /** Term of the newest entry applied: nothing sent before it is still unknown. */
  #appliedTerm: Term = 0;

  constructor(deps: { clock: Clock; identity: Identity }, options: NodeOptions) {
    this.#clock = deps.clock;
    this.#identity = deps.identity;
    this.#references = new ReferenceWriter(deps.identity);
    this.#options = options;
  }

  /** Takes ownership of nothing: the command is copied together with its reference. */
  add(command: Uint8Array, limits: CallLimits): Promise<Outcome> {
    const refusal = this.#refusal(command);
    if (refusal !== null) return Promise.reject(RequestError.of(refusal));
    const sequence = ++this.#sequence;
    return new Promise((resolve, reject) => {
      const proposal: Proposal = {
        sequence,
        command: this.#references.append(command, sequence),
        deadline: Math.min(limits.deadline, this.#clock.now() + this.#options.requestTimeoutMs),
        limits,
        resolve,
        reject,
        sentTerm: 0,
        batch: 0,
      };
      this.#pending.set(sequence, proposal);
      this.#pendingBytes += proposal.command.length;
      this.#queue.push(proposal);
    });
  }

  #refusal(command: Uint8Array): ErrorCode | null {
    if (command.length > this.#options.requestBytesMax) return "requestTooLarge";
    if (this.#pending.size >= this.#options.proposalsPendingMax) return "requestTooManyRequests";
    if (this.#pendingBytes + command.length > this.#options.proposalBytesPendingMax) {
      return "requestTooManyRequests";
    }
    return null;
  }

  hasQueued(): boolean {
    return this.#queue.length > 0;
  }

  /** Ended without an outcome; refused ones are not among them. */
  failedCount(): number {
    return this.#failedCount;
  }

  pendingCount(): number {
    return this.#pending.size;
  }

  /** Gives what is queued to consensus, in pieces, until it takes no more. */
  hand(raft: Raft): void {
    let handed = 0;
    while (handed < this.#queue.length) {
      const piece = this.#piece(handed);
      if (piece.commands.length > 0) {
        const batch = ++this.#lastBatch;
        if (raft.propose(piece.commands, batch) !== "accepted") break;
        const { term } = raft.status();
        for (const proposal of this.#queue.slice(handed, piece.end)) {
          proposal.sentTerm = term;
          proposal.batch = batch;
        }
      }
      handed = piece.end;
    }
    if (handed > 0) this.#queue = this.#queue.slice(handed);
  }

  #piece(first: number): { commands: Uint8Array[]; end: number } {
    const commands: Uint8Array[] = [];
    let bytes = 0;
    let end = first;
    for (; end < this.#queue.length; end++) {
      const proposal = this.#queue[end] as Proposal;
      if (!this.#pending.has(proposal.sequence)) continue;
      bytes += proposal.command.length;
      if (commands.length > 0 && bytes > this.#options.proposeBytesMax) break;
      commands.push(proposal.command);
    }
    return { commands, end };
  }

  /** An entry of this term was applied; to be called before its own outcome is resolved. */
  applied(term: Term): void {
    if (term <= this.#appliedTerm) return;
    this.#appliedTerm = term;
    const again: Proposal[] = [];
    for (const proposal of this.#pending.values()) {
      if (proposal.sentTerm === 0 || proposal.sentTerm >= term) continue;
      proposal.sentTerm = 0;
      proposal.batch = 0;
      again.push(proposal);
    }
    if (again.length > 0) this.#queue = [...again, ...this.#queue];
  }

  /** The leader took none of these batches: what was in them is certainly in no log. */
  refused(batches: readonly number[]): void {
    if (batches.length === 0) return;
    const refused = new Set(batches);
    for (const proposal of this.#pending.values()) {
      if (refused.has(proposal.batch)) this.#fail(proposal, "requestTooManyRequests");
    }
  }

  /** No waiter: the proposal is another's, an earlier start's, or was given up. */
  resolve(reference: ProposalRef, outcome: Outcome): void {
    const { member, start } = this.#identity;
    if (reference.member !== member || reference.start !== start) return;
    const proposal = this.#pending.get(reference.sequence);
    if (proposal === undefined) return;
    this.#forget(proposal);
    proposal.resolve(outcome);
  }

  sweep(view: LeaderView): void {
    const now = this.#clock.now();
    for (const proposal of this.#pending.values()) {
      if (proposal.limits.signal.aborted) this.#fail(proposal, "canceled");
      else if (proposal.deadline <= now) this.#fail(proposal, lateCode(proposal, view));
    }
    this.#queue = this.#queue.filter(({ sequence }) => this.#pending.has(sequence));
  }

  /** Ends all waiting: what never left with `stopped`, the rest with an unknown fate. */
  stop(): void {
    for (const proposal of this.#pending.values()) {
      this.#fail(proposal, proposal.sentTerm === 0 ? "stopped" : "timeout");
    }
    this.#queue = [];
  }

  #fail(proposal: Proposal, code: ErrorCode): void {
    this.#forget(proposal);
    this.#failedCount++;
    proposal.reject(RequestError.of(code));
  }

  #forget(proposal: Proposal): void {
    this.#pending.delete(proposal.sequence);
    this.#pendingBytes -= proposal.command.length;
  }
}

function lateCode({ sentTerm }: Proposal, view: LeaderView): ErrorCode {
  if (sentTerm === 0) return view.leader === null ? "noLeader" : "requestTooManyRequests";
  if (view.leader === null || view.term !== sentTerm) return "timeoutDueToLeaderFail";
  return view.reachable ? "timeout" : "timeoutDueToConnectionLost";
}

// Field 2000 of Command, length-delimited: (2000 << 3) | 2 as a varint; then its length, below 128.
const tagBytes = [0x82, 0x7d] as const;
/** Of the last field, the sequence, which is number 3. */
const sequenceTag = 0x18;

/** Appends to commands whose they are. Fields may come in any order: no other byte changes. */
export class ReferenceWriter {
  /** Member and start, the same for all. */
  readonly #source: Uint8Array;

  constructor({ member, start }: Pick<ProposalRef, "member" | "start">) {
    this.#source = ProposalRefForm.encode({ member, start, sequence: 0 }).finish();
  }

  /** `sequence` is above 0. */
  append(command: Uint8Array, sequence: number): Uint8Array {
    const source = this.#source;
    const length = source.length + 1 + varintBytes(sequence);
    // From Node's pool: most commands are small, and each lives until its entry leaves the tail.
    const joined = Buffer.allocUnsafe(command.length + 3 + length);
    joined.set(command);
    joined.set(tagBytes, command.length);
    joined[command.length + 2] = length;
    joined.set(source, command.length + 3);
    const sequenceAt = command.length + 3 + source.length;
    joined[sequenceAt] = sequenceTag;
    putVarint(joined, sequenceAt + 1, sequence);
    return joined;
  }
}
