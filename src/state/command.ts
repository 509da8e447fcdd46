// Entry data to command: the one place where bytes of the log get a meaning.
//
// Commands are validated before they enter the log (api/validate.ts, api/strict-fields.ts), and
// every member applies the same bytes. So what does not decode here is a bug or damage that slept
// through the log's checksums: an assertion, never a refusal that one member gives and another
// does not. Empty data is the entry with which a leader opens its term: no command.
import { assert, AssertionError } from "../base/assert.ts";
import type { Index, Term } from "../base/ids.ts";
import { Command } from "../proto/keelson/command.ts";

/** What the machine needs of a log entry; raft's Entry has this shape. */
export interface MachineEntry {
  readonly term: Term;
  readonly index: Index;
  readonly kind: "normal" | "configuration";
  readonly data: Uint8Array;
}

export type CommandRequest = NonNullable<Command["request"]>;

/** The command of an entry; null: the entry that opens a term. */
export function decodeCommand(entry: MachineEntry): Command | null {
  assert(entry.kind === "normal", `entry ${entry.index} changes the configuration`);
  const { buffer, byteOffset, length } = entry.data;
  if (length === 0) return null;
  try {
    // Plain bytes, whatever the log gave: the slices of some subclasses share their memory.
    return Command.decode(new Uint8Array(buffer, byteOffset, length));
  } catch (error) {
    // The decoder's errors only: it runs no code of ours.
    throw new AssertionError(`entry ${entry.index} holds no command: ${String(error)}`);
  }
}
