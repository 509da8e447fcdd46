// Whose directory this is (rule W12): cluster, member, a store id drawn when the directory was made,
// and a counter of starts. Written in two places, DIR/identity and DIR/wal/identity, so that parts
// of two directories put together are noticed; the checkpoints in the log say it a third time.
//
//   keelson identity 1
//   cluster 1234567890            decimal
//   member 987654321              decimal
//   store 0123456789abcdef...     32 hex digits
//   start 7                       0: made, never opened
//   crc32 89abcdef                of the lines above, 8 hex digits
//
// A start writes both with the next counter, DIR/identity first, before the log is opened. So the
// counters differ by one at most, and neither is below that of a start that sent anything: one
// damaged file is made again from the other. A file that is not there at all is somebody's doing,
// and refused; but for DIR/identity before the first start, which makes it.
import { crc32 } from "node:zlib";
import { equalBytes } from "../base/bytes.ts";
import type { ClusterId, MemberId, StoreId } from "../base/ids.ts";
import { readSmallFile, replaceSmallFile, type Files } from "./files.ts";
import type { Identity } from "./log.ts";
import { WalError } from "./wal-error.ts";

export const identityName = "identity";

const identityPattern =
  /^keelson identity 1\ncluster (\d{1,20})\nmember (\d{1,20})\nstore ([0-9a-f]{32})\nstart (\d{1,16})\ncrc32 [0-9a-f]{8}\n$/;

export function encodeIdentity(identity: Identity): Uint8Array {
  const { cluster, member, store, start } = identity;
  const lines =
    `keelson identity 1\ncluster ${cluster}\nmember ${member}\n` +
    `store ${store}\nstart ${start}\n`;
  return Buffer.from(`${lines}crc32 ${crc32(lines).toString(16).padStart(8, "0")}\n`);
}

/** Null: damaged. */
export function decodeIdentity(bytes: Uint8Array): Identity | null {
  const [, cluster, member, store, start] =
    identityPattern.exec(Buffer.from(bytes).toString("latin1")) ?? [];
  if (cluster === undefined || member === undefined) return null;
  if (store === undefined || start === undefined) return null;
  const identity: Identity = {
    cluster: cluster as ClusterId,
    member: member as MemberId,
    store: store as StoreId,
    start: Number(start),
  };
  // Encoding again checks the CRC and that every number is in its one form.
  return equalBytes(encodeIdentity(identity), bytes) ? identity : null;
}

export interface IdentityPlaces {
  /** The data directory. */
  readonly directory: string;
  /** The log's directory in it. */
  readonly logDirectory: string;
}

/** Reads both records and proves that they agree. Of two counters, the higher. */
export function readIdentity(files: Files, places: IdentityPlaces): Identity {
  const paths = [places.directory, places.logDirectory].map((path) => `${path}/${identityName}`);
  const contents = [places.directory, places.logDirectory].map((path) =>
    readSmallFile(files, path, identityName),
  );
  const records = contents.map((bytes) => (bytes === null ? null : decodeIdentity(bytes)));
  const [outer, inner] = [records[0] ?? null, records[1] ?? null];
  const missing = contents.indexOf(null);
  const wasNeverOpened = missing === 0 && inner?.start === 0;
  if (missing >= 0 && !wasNeverOpened) {
    throw new WalError(
      "identity",
      `${paths[missing]} is missing: restore it, for without it nobody can tell whose log this is`,
    );
  }
  if (outer === null && inner === null) {
    throw new WalError(
      "identity",
      `${paths[0]} and ${paths[1]} are both damaged: restore one of them`,
    );
  }
  if (outer === null || inner === null) return (outer ?? inner) as Identity;
  if (
    outer.cluster !== inner.cluster ||
    outer.member !== inner.member ||
    outer.store !== inner.store
  ) {
    throw new WalError(
      "identity",
      `${paths[0]} is of ${identityText(outer)}, ${paths[1]} of ${identityText(inner)}: ` +
        "parts of two data directories were mixed; put the right ones together again",
    );
  }
  return outer.start >= inner.start ? outer : inner;
}

/** Makes this start durable, and returns its identity. */
export function countStart(files: Files, places: IdentityPlaces): Identity {
  const before = readIdentity(files, places);
  const identity = { ...before, start: before.start + 1 };
  replaceSmallFile(files, places.directory, identityName, encodeIdentity(identity));
  replaceSmallFile(files, places.logDirectory, identityName, encodeIdentity(identity));
  return identity;
}

/** For messages to people. */
export function identityText(identity: Identity): string {
  return `member ${identity.member} of cluster ${identity.cluster} (store ${identity.store})`;
}
