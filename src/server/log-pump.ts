// Between the loop and the log: gives it what a ready wants durable, and brings back to the loop,
// in order, what became durable and what was read. It never waits: the loop goes on turning while
// the disk works. Not here: deciding what relies on what. A write error never comes back (W9); a
// read error is damage, and ends the process.
import type { Entry } from "../raft/entry.ts";
import type { Message } from "../raft/message.ts";
import type { EntriesWanted, LogAppend, Ready } from "../raft/ready.ts";
import type { Log } from "../wal/log.ts";

export interface Synced {
  readonly sync: number;
  /** Might not leave before. */
  readonly messages: readonly Message[];
}

export interface Loaded {
  readonly wanted: EntriesWanted;
  readonly entries: readonly Entry[];
}

interface Write extends Synced {
  isDurable: boolean;
}

export class LogPump {
  readonly #log: Log;
  readonly #wake: () => void;
  readonly #fatal: (error: unknown) => void;
  /** In the order given. Bounded by consensus: it has limits on what is not yet durable. */
  #writes: Write[] = [];
  #loaded: Loaded[] = [];

  constructor(deps: { log: Log; wake: () => void; fatal: (error: unknown) => void }) {
    this.#log = deps.log;
    this.#wake = deps.wake;
    this.#fatal = deps.fatal;
  }

  write(append: LogAppend, { sync, messagesAfterSync }: Ready): void {
    const write: Write = { sync, messages: messagesAfterSync, isDurable: false };
    this.#writes.push(write);
    this.#append(append, write).catch(this.#fatal);
  }

  load(wanted: readonly EntriesWanted[]): void {
    for (const range of wanted) this.#read(range).catch(this.#fatal);
  }

  async #append(append: LogAppend, write: Write): Promise<void> {
    await this.#log.append(append);
    write.isDurable = true;
    this.#wake();
  }

  async #read(wanted: EntriesWanted): Promise<void> {
    const entries = await this.#log.read(wanted.first, wanted.last, wanted.bytesMax);
    this.#loaded.push({ wanted, entries });
    this.#wake();
  }

  takeSynced(): readonly Synced[] {
    const count = this.#writes.findIndex(({ isDurable }) => !isDurable);
    const done = count < 0 ? this.#writes : this.#writes.slice(0, count);
    if (done.length > 0) this.#writes = count < 0 ? [] : this.#writes.slice(count);
    return done;
  }

  takeLoaded(): readonly Loaded[] {
    const loaded = this.#loaded;
    if (loaded.length > 0) this.#loaded = [];
    return loaded;
  }
}
