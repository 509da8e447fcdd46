// The directory of one member: made once, opened at each start. The caller holds its lock.
//
//   DIR/               0700
//     lock             lock.ts
//     format           one line; a newer Keelson's directory is refused
//     identity         identity.ts
//     wal/             0700: identity, segments, prepared files, perhaps a quarantine marker
//     ...              other rooms' (LevelDB)
//
// Making one: format, then wal.creating/ with a first segment and its identity, then one rename to
// wal/. Until that rename is durable nothing was promised, and the next start begins again; after
// it, DIR/identity is written by the first start. A directory with an identity and no log has lost
// its log, and is never filled again silently: such a member would vote a second time (I2).
import type { ClusterId, MemberId, StoreId } from "../base/ids.ts";
import type { Configuration } from "../raft/entry.ts";
import { readSmallFile, replaceSmallFile, type Files } from "./files.ts";
import {
  countStart,
  encodeIdentity,
  identityName,
  identityText,
  readIdentity,
  type IdentityPlaces,
} from "./identity.ts";
import type { Identity } from "./log.ts";
import { pageBytes } from "./page.ts";
import { createLog, recoverLog, type RecoveredLog } from "./recovery.ts";
import { WalError } from "./wal-error.ts";

const formatName = "format";
const formatLine = "keelson data format 1\n";
const logName = "wal";
const memberName = "member";
const creatingName = "wal.creating";

/** What a new directory is made for. */
export interface WalCreate {
  readonly cluster: ClusterId;
  readonly member: MemberId;
  /** The first one, before any entry. */
  readonly configuration: Configuration;
}

export interface DirectoryOptions {
  readonly directory: string;
  /** Null: the directory must be there. Otherwise it must be this member's when it is. */
  readonly create: WalCreate | null;
  /** For a new directory: random. */
  readonly store: StoreId;
  readonly segmentBytes: number;
}

export interface OpenedDirectory extends RecoveredLog {
  readonly identity: Identity;
}

export function logDirectory(directory: string): string {
  return `${directory}/${logName}`;
}

/** Where the member of a data directory is; its own directory may be given too. */
export function memberDirectory(files: Files, directory: string): string {
  const member = `${directory}/${memberName}`;
  return hasLog(files, member) ? member : directory;
}

/** True when a member's log was made there. */
export function hasLog(files: Files, directory: string): boolean {
  return files.list(directory)?.includes(logName) === true;
}

/** Makes the directory when it is not there and may be, and opens its log. */
export function openDirectory(files: Files, options: DirectoryOptions): OpenedDirectory {
  const { directory, create, segmentBytes } = options;
  const places = { directory, logDirectory: logDirectory(directory) };
  if (!hasLog(files, directory)) makeDirectory(files, options, places);
  // Also of a log that an earlier process made before it died: DIR/identity must not outlive it.
  files.syncDirectory(directory);
  refuseFormat(files, directory);
  if (create !== null) refuseOther(readIdentity(files, places), create, directory);
  const identity = countStart(files, places);
  const log = recoverLog(files, { directory: places.logDirectory, segmentBytes, identity });
  return { ...log, identity };
}

/** Whose directory it is, and that its format is known; changes nothing. */
export function inspectDirectory(files: Files, directory: string): Identity {
  if (!hasLog(files, directory)) {
    throw new WalError("missing", `${directory} holds no data of a Keelson member`);
  }
  refuseFormat(files, directory);
  return readIdentity(files, { directory, logDirectory: logDirectory(directory) });
}

function makeDirectory(files: Files, options: DirectoryOptions, places: IdentityPlaces): void {
  const { directory, create, store } = options;
  if (files.list(directory)?.includes(identityName) === true) {
    throw new WalError(
      "missing",
      `${places.logDirectory} is missing although ${directory} was used before: restore it, or ` +
        "remove the member from the cluster and add it again with an empty directory",
    );
  }
  if (create === null) {
    throw new WalError("missing", `${directory} holds no data of a Keelson member`);
  }
  files.makeDirectory(directory);
  replaceSmallFile(files, directory, formatName, Buffer.from(formatLine));
  const creating = `${directory}/${creatingName}`;
  removeCreating(files, creating);
  files.makeDirectory(creating);
  const identity = { cluster: create.cluster, member: create.member, store, start: 0 };
  createLog(files, {
    directory: creating,
    segmentBytes: pageBytes,
    identity,
    configuration: create.configuration,
  });
  replaceSmallFile(files, creating, identityName, encodeIdentity(identity));
  files.rename(creating, places.logDirectory);
}

function removeCreating(files: Files, creating: string): void {
  const names = files.list(creating);
  if (names === null) return;
  for (const name of names) files.unlink(`${creating}/${name}`);
  files.removeDirectory(creating);
}

function refuseFormat(files: Files, directory: string): void {
  const bytes = readSmallFile(files, directory, formatName);
  const line = bytes === null ? null : Buffer.from(bytes).toString("latin1");
  if (line === formatLine) return;
  const version = /^keelson data format (\d{1,6})\n$/.exec(line ?? "")?.[1];
  if (version === undefined) {
    throw new WalError(
      "format",
      `${directory}/${formatName} is ${line === null ? "missing" : "damaged"}: restore it, or name ` +
        "another directory if this one was not made by Keelson",
    );
  }
  throw new WalError(
    "format",
    `${directory} has data format ${version}, this Keelson reads 1: start the version that wrote it`,
  );
}

function refuseOther(found: Identity, wanted: WalCreate, directory: string): void {
  if (found.cluster === wanted.cluster && found.member === wanted.member) return;
  throw new WalError(
    "identity",
    `${directory} belongs to ${identityText(found)}, not to member ${wanted.member} of cluster ` +
      `${wanted.cluster}: name another directory, or start with the flags of that member`,
  );
}
