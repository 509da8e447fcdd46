// The member table: who is in the cluster (from the bootstrap configuration) and what each member
// has published of itself (name, client URLs, store id).
//
// The published part is replicated and has rows; the configured part is given at construction and
// changes with none of today's features. A store id, once published, is fixed: another one under
// the same member means that its data directory was lost, and with it votes and entries that it
// acknowledged, so it is refused for as long as the cluster lives. The refused member sees the
// outcome, and whoever comes later sees that the table names another store id than its own.
import { assert } from "../base/assert.ts";
import type { ErrorCode } from "../base/errors.ts";
import type { MemberId, StoreId } from "../base/ids.ts";
import { MemberAttributes } from "../proto/keelson/command.ts";
import type { StateStore } from "../store/state-store.ts";
import { idRowKey, memberRowPrefix } from "./row-key.ts";

/** A member as configured, before it has said anything. */
export interface BootstrapMember {
  readonly id: MemberId;
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly isLearner: boolean;
}

export interface MemberRecord extends BootstrapMember {
  /** Empty until published. */
  readonly clientUrls: readonly string[];
  /** Null until published. */
  readonly storeId: StoreId | null;
}

export class Members {
  readonly #store: StateStore;
  readonly #records = new Map<MemberId, MemberRecord>();

  constructor(deps: { store: StateStore }, bootstrap: readonly BootstrapMember[]) {
    this.#store = deps.store;
    for (const member of bootstrap) {
      assert(!this.#records.has(member.id), `member ${member.id} is configured twice`);
      this.#records.set(member.id, { ...member, clientUrls: [], storeId: null });
    }
  }

  /** A row found on restart, before the first entry is applied. */
  restore(rowValue: Uint8Array): void {
    this.#take(MemberAttributes.decode(rowValue));
  }

  /** In the order configured. */
  list(): MemberRecord[] {
    return [...this.#records.values()];
  }

  get(id: MemberId): MemberRecord | undefined {
    return this.#records.get(id);
  }

  /** Null: taken. */
  publish(attributes: MemberAttributes): ErrorCode | null {
    const id = attributes.member as MemberId;
    const record = this.#records.get(id);
    if (record === undefined) return "memberNotFound";
    if (record.storeId !== null && record.storeId !== attributes.storeId) return "memberExist";
    this.#take(attributes);
    const row = MemberAttributes.encode(attributes).finish();
    this.#store.put(idRowKey(memberRowPrefix, id), row);
    return null;
  }

  #take(attributes: MemberAttributes): void {
    const id = attributes.member as MemberId;
    const record = this.#records.get(id);
    assert(record !== undefined, `member ${id} has published but is not configured`);
    this.#records.set(id, {
      ...record,
      name: attributes.name,
      clientUrls: [...attributes.clientUrls],
      storeId: attributes.storeId as StoreId,
    });
  }
}
