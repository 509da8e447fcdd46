// Why a data directory cannot be opened, or an offline command cannot go on: for people, so each
// one says what happened, to what, and what to do. Failures while running are not here: a failed
// write or sync is the system's own error, handed to `fatal` (rule W9).

export type WalErrorKind =
  // Another process holds the directory.
  | "inUse"
  // The lock cannot be taken for another reason.
  | "lock"
  // Written by a newer Keelson.
  | "format"
  // Belongs to another cluster or member, or its two identity records disagree.
  | "identity"
  // Nothing there, and nothing was to be created; or something is missing that must be there.
  | "missing"
  // Bytes that were acknowledged do not read back (rule W8).
  | "corrupt";

export class WalError extends Error {
  override readonly name = "WalError";
  readonly kind: WalErrorKind;

  constructor(kind: WalErrorKind, message: string) {
    super(message);
    this.kind = kind;
  }
}
