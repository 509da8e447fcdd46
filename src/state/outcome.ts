// What applying one command answers: replicated state, so a value and never an exception.
import type { ErrorCode } from "../base/errors.ts";
import type { Revision } from "../base/ids.ts";
import type {
  CompactionResponse,
  DeleteRangeResponse,
  PutResponse,
  TxnResponse,
} from "../proto/etcdserverpb/kv.ts";
import type { LeaseGrantResponse, LeaseRevokeResponse } from "../proto/etcdserverpb/lease.ts";
import type { ProposalRef } from "../proto/keelson/command.ts";
import type { Event } from "../proto/mvccpb/kv.ts";

/** Responses carry a header with only `revision`; the edge fills in the rest. */
export type Outcome =
  | { readonly type: "error"; readonly code: ErrorCode }
  | { readonly type: "put"; readonly response: PutResponse }
  | { readonly type: "deleteRange"; readonly response: DeleteRangeResponse }
  | { readonly type: "txn"; readonly response: TxnResponse }
  | { readonly type: "compaction"; readonly response: CompactionResponse }
  | { readonly type: "leaseGrant"; readonly response: LeaseGrantResponse }
  | { readonly type: "leaseRevoke"; readonly response: LeaseRevokeResponse }
  | { readonly type: "none" };

/** Events of one revision, in sub-revision order; a key occurs once. prevKv is not filled. */
export interface RevisionEvents {
  readonly revision: Revision;
  readonly events: readonly Event[];
}

/** What one applied entry brought about. */
export interface AppliedEntry {
  readonly outcome: Outcome;
  /** Whose proposal it was; null: nobody waits. */
  readonly proposal: ProposalRef | null;
  /** Null: the revision did not move. */
  readonly events: RevisionEvents | null;
}
