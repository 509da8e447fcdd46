// The one binary form of entries, hard state, configuration and messages: on disk (wal) and
// between members (peer). It frames nothing and checks no sums; who stores or sends does.
//
//   entry          kind 1, term, index, length, data
//   hard state     term, has vote 1, [vote 8], commit
//   configuration  count, voters 8 each, count, learners 8 each
//   message        type 1, from 8, to 8, term, then what the type has, in the order of message.ts
//
// Numbers without a size are varints. Encoding is canonical: equal values, equal bytes. Decoding
// throws DecodeError for anything else, and what it returns obeys message.ts: entries of an append
// follow each other and its `previous`, with terms that never fall nor exceed the message's.
import { assert, unreachable } from "../base/assert.ts";
import { varintBytes } from "../base/bytes.ts";
import type { MemberId } from "../base/ids.ts";
import {
  ByteReader,
  ByteWriter,
  DecodeError,
  memberIdBytes,
  varintBytesMax,
} from "./codec-bytes.ts";
import type { Configuration, Entry, EntryId, EntryKind, HardState } from "./entry.ts";
import type { Message } from "./message.ts";

export { DecodeError } from "./codec-bytes.ts";

const messageTypes = [
  "append",
  "appendResponse",
  "appendRejection",
  "heartbeat",
  "heartbeatResponse",
  "preVote",
  "preVoteResponse",
  "vote",
  "voteResponse",
  "propose",
  "readIndex",
  "readIndexResponse",
  "proposeRejection",
] as const satisfies readonly Message["type"][];

const messageTags = new Map<Message["type"], number>(messageTypes.map((type, i) => [type, i + 1]));

const kindTags: Record<EntryKind, number> = { normal: 1, configuration: 2 };

/** Size of the encoded entry: also what limits on bytes of entries count. */
export function entryBytes(entry: Entry): number {
  const { length } = entry.data;
  return 1 + varintBytes(entry.term) + varintBytes(entry.index) + varintBytes(length) + length;
}

/** Writes entryBytes(entry) bytes at `at`, and returns where they end. */
export function writeEntry(entry: Entry, target: Uint8Array, at: number): number {
  const writer = new ByteWriter(target, at);
  putEntry(writer, entry);
  return writer.at();
}

export function encodeEntry(entry: Entry): Uint8Array {
  const bytes = new Uint8Array(entryBytes(entry));
  writeEntry(entry, bytes, 0);
  return bytes;
}

/** The entry keeps a view of `bytes`. */
export function decodeEntry(bytes: Uint8Array): Entry {
  const reader = new ByteReader(bytes);
  const entry = getEntry(reader);
  reader.expectEnd();
  return entry;
}

function putEntry(writer: ByteWriter, entry: Entry): void {
  writer.byte(kindTags[entry.kind]);
  writer.varint(entry.term);
  writer.varint(entry.index);
  writer.varint(entry.data.length);
  writer.raw(entry.data);
}

function getEntry(reader: ByteReader): Entry {
  const kind = kindOf(reader.byte());
  const term = reader.varint();
  const index = reader.varint();
  if (term === 0 || index === 0) throw new DecodeError("entry at term or index 0");
  return { term, index, kind, data: reader.raw(reader.varint()) };
}

function kindOf(tag: number): EntryKind {
  if (tag === kindTags.normal) return "normal";
  if (tag === kindTags.configuration) return "configuration";
  throw new DecodeError(`unknown kind of entry: ${tag}`);
}

export function encodeHardState(hardState: HardState): Uint8Array {
  const bytes = new Uint8Array(1 + memberIdBytes + 2 * varintBytesMax);
  const writer = new ByteWriter(bytes, 0);
  writer.varint(hardState.term);
  writer.flag(hardState.vote !== null);
  if (hardState.vote !== null) writer.memberId(hardState.vote);
  writer.varint(hardState.commit);
  return bytes.subarray(0, writer.at());
}

export function decodeHardState(bytes: Uint8Array): HardState {
  const reader = new ByteReader(bytes);
  const term = reader.varint();
  const vote = reader.flag() ? reader.memberId() : null;
  const commit = reader.varint();
  reader.expectEnd();
  return { term, vote, commit };
}

export function encodeConfiguration(configuration: Configuration): Uint8Array {
  const { voters, learners } = configuration;
  const length = 2 * varintBytesMax + (voters.length + learners.length) * memberIdBytes;
  const bytes = new Uint8Array(length);
  const writer = new ByteWriter(bytes, 0);
  for (const members of [voters, learners]) {
    writer.varint(members.length);
    for (const member of members) writer.memberId(member);
  }
  return bytes.subarray(0, writer.at());
}

export function decodeConfiguration(bytes: Uint8Array): Configuration {
  const reader = new ByteReader(bytes);
  const voters = getMembers(reader);
  const learners = getMembers(reader);
  reader.expectEnd();
  if (new Set([...voters, ...learners]).size !== voters.length + learners.length) {
    throw new DecodeError("a member twice in one configuration");
  }
  return { voters, learners };
}

function getMembers(reader: ByteReader): MemberId[] {
  const members: MemberId[] = [];
  for (let left = reader.varint(); left > 0; left--) members.push(reader.memberId());
  return members;
}

/** Bytes that encodeMessage may need: close above the true size. */
export function messageBytesMax(message: Message): number {
  let bytes = 2 + 2 * memberIdBytes + 6 * varintBytesMax;
  if (message.type === "append") {
    for (const entry of message.entries) bytes += entryBytes(entry);
  } else if (message.type === "propose") {
    for (const command of message.commands) bytes += varintBytes(command.length) + command.length;
  }
  return bytes;
}

export function encodeMessage(message: Message): Uint8Array {
  const bytes = new Uint8Array(messageBytesMax(message));
  return bytes.subarray(0, writeMessage(message, bytes, 0));
}

/** Writes at most messageBytesMax(message) bytes at `at`, and returns where they end. */
export function writeMessage(message: Message, target: Uint8Array, at: number): number {
  const writer = new ByteWriter(target, at);
  const tag = messageTags.get(message.type);
  assert(tag !== undefined, "a message without a tag");
  writer.byte(tag);
  writer.memberId(message.from);
  writer.memberId(message.to);
  writer.varint(message.term);
  putBody(writer, message);
  return writer.at();
}

function putBody(writer: ByteWriter, message: Message): void {
  switch (message.type) {
    case "append":
      putEntryId(writer, message.previous);
      writer.varint(message.entries.length);
      for (const entry of message.entries) putEntry(writer, entry);
      return writer.varint(message.commit);
    case "appendResponse":
      return writer.varint(message.match);
    case "appendRejection":
      writer.varint(message.previous);
      return putEntryId(writer, message.hint);
    case "heartbeat":
      writer.varint(message.round);
      return writer.varint(message.commit);
    case "heartbeatResponse":
      return writer.varint(message.round);
    case "preVote":
      writer.varint(message.round);
      return putEntryId(writer, message.last);
    case "preVoteResponse":
      writer.varint(message.round);
      return writer.flag(message.granted);
    case "vote":
      return putEntryId(writer, message.last);
    case "voteResponse":
      return writer.flag(message.granted);
    case "propose":
      writer.varint(message.batch);
      writer.varint(message.start);
      writer.varint(message.commands.length);
      for (const command of message.commands) {
        writer.varint(command.length);
        writer.raw(command);
      }
      return;
    case "proposeRejection":
      writer.varint(message.batch);
      return writer.varint(message.start);
    case "readIndex":
      writer.varint(message.request);
      return writer.varint(message.start);
    case "readIndexResponse":
      writer.varint(message.request);
      writer.varint(message.start);
      writer.flag(message.index !== null);
      if (message.index !== null) writer.varint(message.index);
  }
}

/** Entries and commands of the message keep views of `bytes`. */
export function decodeMessage(bytes: Uint8Array): Message {
  const reader = new ByteReader(bytes);
  const tag = reader.byte();
  const type = messageTypes[tag - 1];
  if (type === undefined) throw new DecodeError(`unknown type of message: ${tag}`);
  const message = getBody(reader, type, {
    from: reader.memberId(),
    to: reader.memberId(),
    term: reader.varint(),
  });
  reader.expectEnd();
  return message;
}

function getBody(
  reader: ByteReader,
  type: Message["type"],
  envelope: { from: MemberId; to: MemberId; term: number },
): Message {
  const { from, to, term } = envelope;
  switch (type) {
    case "append": {
      const previous = getEntryId(reader);
      const entries = getEntries(reader, previous, term);
      return { type, from, to, term, previous, entries, commit: reader.varint() };
    }
    case "appendResponse":
      return { type, from, to, term, match: reader.varint() };
    case "appendRejection": {
      const previous = reader.varint();
      return { type, from, to, term, previous, hint: getEntryId(reader) };
    }
    case "heartbeat": {
      const round = reader.varint();
      return { type, from, to, term, round, commit: reader.varint() };
    }
    case "heartbeatResponse":
      return { type, from, to, term, round: reader.varint() };
    case "preVote": {
      const round = reader.varint();
      return { type, from, to, term, round, last: getEntryId(reader) };
    }
    case "preVoteResponse": {
      const round = reader.varint();
      return { type, from, to, term, round, granted: reader.flag() };
    }
    case "vote":
      return { type, from, to, term, last: getEntryId(reader) };
    case "voteResponse":
      return { type, from, to, term, granted: reader.flag() };
    case "propose": {
      const batch = reader.varint();
      const start = reader.varint();
      return { type, from, to, term, batch, start, commands: getCommands(reader) };
    }
    case "proposeRejection": {
      const batch = reader.varint();
      return { type, from, to, term, batch, start: reader.varint() };
    }
    case "readIndex": {
      const request = reader.varint();
      return { type, from, to, term, request, start: reader.varint() };
    }
    case "readIndexResponse": {
      const request = reader.varint();
      const start = reader.varint();
      const index = reader.flag() ? reader.varint() : null;
      return { type, from, to, term, request, start, index };
    }
  }
  return unreachable(type);
}

function putEntryId(writer: ByteWriter, id: EntryId): void {
  writer.varint(id.term);
  writer.varint(id.index);
}

function getEntryId(reader: ByteReader): EntryId {
  const term = reader.varint();
  return { term, index: reader.varint() };
}

function getEntries(reader: ByteReader, previous: EntryId, termMax: number): Entry[] {
  const entries: Entry[] = [];
  let { term, index } = previous;
  for (let left = reader.varint(); left > 0; left--) {
    const entry = getEntry(reader);
    if (entry.index !== index + 1) throw new DecodeError("entries of an append have a gap");
    if (entry.term < term) throw new DecodeError("terms of an append fall");
    ({ term, index } = entry);
    entries.push(entry);
  }
  if (term > termMax) throw new DecodeError("an append holds a term above its own");
  return entries;
}

function getCommands(reader: ByteReader): Uint8Array[] {
  const commands: Uint8Array[] = [];
  for (let left = reader.varint(); left > 0; left--) commands.push(reader.raw(reader.varint()));
  return commands;
}
