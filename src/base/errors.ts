// Every refusal a client can see: one table from our code to the gRPC status and the exact text.
// Clients match on the text byte for byte, so texts are etcd's (as etcd 3.7, documented codes: the
// two that etcd sends as Unknown by accident go out with the code its table means).
//
// Three kinds of failure, three shapes: a bug is an AssertionError and ends the process; the
// outcome of a command is a value ({error: ErrorCode}) in what apply returns; a refusal at the
// edge is a thrown RequestError.

/** Canonical gRPC status numbers. */
export const grpcStatus = {
  ok: 0,
  canceled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  alreadyExists: 6,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
  unauthenticated: 16,
} as const;
export type GrpcStatus = (typeof grpcStatus)[keyof typeof grpcStatus];

interface ErrorRow {
  readonly status: GrpcStatus;
  readonly text: string;
}

export const errorTable = {
  emptyKey: { status: grpcStatus.invalidArgument, text: "etcdserver: key is not provided" },
  keyNotFound: { status: grpcStatus.invalidArgument, text: "etcdserver: key not found" },
  valueProvided: { status: grpcStatus.invalidArgument, text: "etcdserver: value is provided" },
  leaseProvided: { status: grpcStatus.invalidArgument, text: "etcdserver: lease is provided" },
  tooManyOps: {
    status: grpcStatus.invalidArgument,
    text: "etcdserver: too many operations in txn request",
  },
  duplicateKey: {
    status: grpcStatus.invalidArgument,
    text: "etcdserver: duplicate key given in txn request",
  },
  invalidClientAPIVersion: {
    status: grpcStatus.invalidArgument,
    text: "etcdserver: invalid client api version",
  },
  invalidSortOption: {
    status: grpcStatus.invalidArgument,
    text: "etcdserver: invalid sort option",
  },
  compacted: {
    status: grpcStatus.outOfRange,
    text: "etcdserver: mvcc: required revision has been compacted",
  },
  futureRev: {
    status: grpcStatus.outOfRange,
    text: "etcdserver: mvcc: required revision is a future revision",
  },
  noSpace: {
    status: grpcStatus.resourceExhausted,
    text: "etcdserver: mvcc: database space exceeded",
  },
  leaseNotFound: { status: grpcStatus.notFound, text: "etcdserver: requested lease not found" },
  leaseExist: { status: grpcStatus.failedPrecondition, text: "etcdserver: lease already exists" },
  leaseTTLTooLarge: { status: grpcStatus.outOfRange, text: "etcdserver: too large lease TTL" },
  watchCanceled: { status: grpcStatus.canceled, text: "etcdserver: watch canceled" },
  memberExist: {
    status: grpcStatus.failedPrecondition,
    text: "etcdserver: member ID already exist",
  },
  peerURLExist: {
    status: grpcStatus.failedPrecondition,
    text: "etcdserver: Peer URLs already exists",
  },
  memberNotEnoughStarted: {
    status: grpcStatus.failedPrecondition,
    text: "etcdserver: re-configuration failed due to not enough started members",
  },
  memberBadURLs: {
    status: grpcStatus.invalidArgument,
    text: "etcdserver: given member URLs are invalid",
  },
  memberNotFound: { status: grpcStatus.notFound, text: "etcdserver: member not found" },
  memberNotLearner: {
    status: grpcStatus.failedPrecondition,
    text: "etcdserver: can only promote a learner member",
  },
  learnerNotReady: {
    status: grpcStatus.failedPrecondition,
    text: "etcdserver: can only promote a learner member which is in sync with leader",
  },
  tooManyLearners: {
    status: grpcStatus.failedPrecondition,
    text: "etcdserver: too many learner members in cluster",
  },
  clusterIDMismatch: {
    status: grpcStatus.failedPrecondition,
    text: "etcdserver: cluster ID mismatch",
  },
  requestTooLarge: { status: grpcStatus.invalidArgument, text: "etcdserver: request is too large" },
  requestTooManyRequests: {
    status: grpcStatus.resourceExhausted,
    text: "etcdserver: too many requests",
  },
  rootUserNotExist: {
    status: grpcStatus.failedPrecondition,
    text: "etcdserver: root user does not exist",
  },
  rootRoleNotExist: {
    status: grpcStatus.failedPrecondition,
    text: "etcdserver: root user does not have root role",
  },
  userAlreadyExist: {
    status: grpcStatus.failedPrecondition,
    text: "etcdserver: user name already exists",
  },
  userEmpty: { status: grpcStatus.invalidArgument, text: "etcdserver: user name is empty" },
  userNotFound: { status: grpcStatus.failedPrecondition, text: "etcdserver: user name not found" },
  roleAlreadyExist: {
    status: grpcStatus.failedPrecondition,
    text: "etcdserver: role name already exists",
  },
  roleNotFound: { status: grpcStatus.failedPrecondition, text: "etcdserver: role name not found" },
  roleEmpty: { status: grpcStatus.invalidArgument, text: "etcdserver: role name is empty" },
  authFailed: {
    status: grpcStatus.invalidArgument,
    text: "etcdserver: authentication failed, invalid user ID or password",
  },
  permissionNotGiven: {
    status: grpcStatus.invalidArgument,
    text: "etcdserver: permission not given",
  },
  permissionDenied: { status: grpcStatus.permissionDenied, text: "etcdserver: permission denied" },
  roleNotGranted: {
    status: grpcStatus.failedPrecondition,
    text: "etcdserver: role is not granted to the user",
  },
  permissionNotGranted: {
    status: grpcStatus.failedPrecondition,
    text: "etcdserver: permission is not granted to the role",
  },
  authNotEnabled: {
    status: grpcStatus.failedPrecondition,
    text: "etcdserver: authentication is not enabled",
  },
  invalidAuthToken: { status: grpcStatus.unauthenticated, text: "etcdserver: invalid auth token" },
  invalidAuthMgmt: {
    status: grpcStatus.invalidArgument,
    text: "etcdserver: invalid auth management",
  },
  authOldRevision: {
    status: grpcStatus.invalidArgument,
    text: "etcdserver: revision of auth store is old",
  },
  noLeader: { status: grpcStatus.unavailable, text: "etcdserver: no leader" },
  notLeader: { status: grpcStatus.failedPrecondition, text: "etcdserver: not leader" },
  leaderChanged: { status: grpcStatus.unavailable, text: "etcdserver: leader changed" },
  notCapable: { status: grpcStatus.failedPrecondition, text: "etcdserver: not capable" },
  stopped: { status: grpcStatus.unavailable, text: "etcdserver: server stopped" },
  timeout: { status: grpcStatus.unavailable, text: "etcdserver: request timed out" },
  timeoutDueToLeaderFail: {
    status: grpcStatus.unavailable,
    text: "etcdserver: request timed out, possibly due to previous leader failure",
  },
  timeoutDueToConnectionLost: {
    status: grpcStatus.unavailable,
    text: "etcdserver: request timed out, possibly due to connection lost",
  },
  timeoutWaitAppliedIndex: {
    status: grpcStatus.unavailable,
    text: "etcdserver: request timed out, waiting for the applied index took too long",
  },
  unhealthy: { status: grpcStatus.unavailable, text: "etcdserver: unhealthy cluster" },
  corrupt: { status: grpcStatus.dataLoss, text: "etcdserver: corrupt cluster" },
  notSupportedForLearner: {
    status: grpcStatus.failedPrecondition,
    text: "etcdserver: rpc not supported for learner",
  },
  badLeaderTransferee: {
    status: grpcStatus.failedPrecondition,
    text: "etcdserver: bad leader transferee",
  },
  wrongDowngradeVersionFormat: {
    status: grpcStatus.invalidArgument,
    text: "etcdserver: wrong downgrade target version format",
  },
  invalidDowngradeTargetVersion: {
    status: grpcStatus.invalidArgument,
    text: "etcdserver: invalid downgrade target version",
  },
  clusterVersionUnavailable: {
    status: grpcStatus.failedPrecondition,
    text: "etcdserver: cluster version not found during downgrade",
  },
  downgradeInProcess: {
    status: grpcStatus.failedPrecondition,
    text: "etcdserver: cluster has a downgrade job in progress",
  },
  noInflightDowngrade: {
    status: grpcStatus.failedPrecondition,
    text: "etcdserver: no inflight downgrade job",
  },
  canceled: { status: grpcStatus.canceled, text: "etcdserver: request canceled" },
  deadlineExceeded: {
    status: grpcStatus.deadlineExceeded,
    text: "etcdserver: context deadline exceeded",
  },
  notPrimaryLessor: { status: grpcStatus.unknown, text: "not a primary lessor" },
  contextCanceled: { status: grpcStatus.canceled, text: "context canceled" },
  contextDeadlineExceeded: {
    status: grpcStatus.deadlineExceeded,
    text: "context deadline exceeded",
  },
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof errorTable;

/** A refusal at the edge: thrown by handlers, turned into a status by the adapters. */
export class RequestError extends Error {
  override readonly name = "RequestError";
  readonly status: GrpcStatus;

  private constructor(status: GrpcStatus, text: string, cause?: unknown) {
    super(text, cause === undefined ? undefined : { cause });
    this.status = status;
  }

  /** The table's status and text. `cause` stays for the log and is hidden from clients. */
  static of(code: ErrorCode, cause?: unknown): RequestError {
    return new RequestError(errorTable[code].status, errorTable[code].text, cause);
  }

  /** A refusal that etcd words case by case (malformed messages, unknown methods). */
  static worded(status: GrpcStatus, text: string, cause?: unknown): RequestError {
    return new RequestError(status, text, cause);
  }
}

/** HTTP status for a gRPC status, as etcd's JSON gateway maps them. */
export function httpStatusOf(status: GrpcStatus): number {
  switch (status) {
    case grpcStatus.ok:
      return 200;
    case grpcStatus.invalidArgument:
    case grpcStatus.failedPrecondition:
    case grpcStatus.outOfRange:
      return 400;
    case grpcStatus.unauthenticated:
      return 401;
    case grpcStatus.permissionDenied:
      return 403;
    case grpcStatus.notFound:
      return 404;
    case grpcStatus.alreadyExists:
    case grpcStatus.aborted:
      return 409;
    case grpcStatus.resourceExhausted:
      return 429;
    case grpcStatus.canceled:
      return 499;
    case grpcStatus.unknown:
    case grpcStatus.internal:
    case grpcStatus.dataLoss:
      return 500;
    case grpcStatus.unimplemented:
      return 501;
    case grpcStatus.unavailable:
      return 503;
    case grpcStatus.deadlineExceeded:
      return 504;
  }
}
