// The seam between the log and the disk: the few synchronous file calls that the log makes, and no
// others. Two forms: node-files.ts, and the simulator's (test/sim/sim-files.ts), which keeps what is
// cached apart from what is durable and crashes between any two calls.
//
// The contract every caller leans on:
// - what was written is durable only after `sync` of that file returned;
// - names made, renamed or removed are durable only after `syncDirectory` returned;
// - after a failed write or sync the file must not be written or synced again (rule W9): what the
//   page cache shows from then on proves nothing.
// Synchronous on purpose: the log has a thread of its own, and libuv's pool is shared with DNS,
// hashing and LevelDB (house decision 3).

/** An open file. */
export type FileId = number;

export interface Files {
  /** Opens for reading and writing. `create` makes it, and fails when it exists. */
  open(path: string, how: "existing" | "create"): FileId;
  close(file: FileId): void;
  /** Writes all of `bytes` at `position`, or throws. */
  write(file: FileId, bytes: Uint8Array, position: number): void;
  /** fdatasync: data, and the size when it changed. */
  sync(file: FileId): void;
  /** Fills `target` from `position`; returns fewer bytes only at the end of the file. */
  read(file: FileId, target: Uint8Array, position: number): number;
  size(file: FileId): number;
  truncate(file: FileId, size: number): void;
  /** Replaces `to` when it exists. */
  rename(from: string, to: string): void;
  unlink(path: string): void;
  /**
   * Makes a directory for its owner only, and the directories above it that are missing, durably;
   * content when it is there.
   */
  makeDirectory(path: string): void;
  /** Removes an empty directory. */
  removeDirectory(path: string): void;
  syncDirectory(path: string): void;
  /** Names in a directory, sorted; null when there is none. */
  list(path: string): string[] | null;
}

/** The whole content of a small file; null when there is none. */
export function readSmallFile(files: Files, directory: string, name: string): Uint8Array | null {
  if (files.list(directory)?.includes(name) !== true) return null;
  const file = files.open(`${directory}/${name}`, "existing");
  try {
    const bytes = new Uint8Array(files.size(file));
    const count = files.read(file, bytes, 0);
    return bytes.subarray(0, count);
  } finally {
    files.close(file);
  }
}

/** Replaces a small file so that a crash leaves the old content or the new, never a mixture. */
export function replaceSmallFile(
  files: Files,
  directory: string,
  name: string,
  content: Uint8Array,
): void {
  const draft = `${directory}/${name}.tmp`;
  if (files.list(directory)?.includes(`${name}.tmp`) === true) files.unlink(draft);
  const file = files.open(draft, "create");
  try {
    files.write(file, content, 0);
    files.sync(file);
  } finally {
    files.close(file);
  }
  files.rename(draft, `${directory}/${name}`);
  files.syncDirectory(directory);
}
