// Who is who: the replicated member table beside what this member knows of itself. Publishes this
// member's attributes (name, client URLs, store id) through the log after each start, until an
// entry with them is applied.
//
// A member whose data directory was lost starts with another store id under its old name. Peers
// refuse it at the handshake (peer/handshake.ts); here it finds out by itself when it reads its
// own record, or when the machine refuses its attributes: both are fatal, because what it has
// acknowledged and forgotten may be the only majority of an entry.
import { AssertionError } from "../base/assert.ts";
import { RequestError } from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import type { Logger } from "../base/logger.ts";
import { Command } from "../proto/keelson/command.ts";
import type { MemberRecord, Members } from "../state/members.ts";
import type { Outcome } from "../state/outcome.ts";
import type { Identity } from "../wal/log.ts";
import type { NodeOptions } from "./node-options.ts";

/** The process must not go on; the message says what the operator has to do. */
export class MemberRefused extends Error {
  override readonly name = "MemberRefused";
}

export class Membership {
  readonly #members: Members;
  readonly #identity: Identity;
  readonly #options: NodeOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;

  constructor(
    deps: { members: Members; identity: Identity; clock: Clock; logger: Logger },
    options: NodeOptions,
  ) {
    this.#members = deps.members;
    this.#identity = deps.identity;
    this.#clock = deps.clock;
    this.#logger = deps.logger;
    this.#options = options;
  }

  own(): MemberRecord {
    const own = this.#members.get(this.#identity.member);
    if (own === undefined) {
      throw new AssertionError(`member ${this.#identity.member} is not in its own table`);
    }
    return own;
  }

  /** Throws MemberRefused when the cluster knows this member by another data directory. */
  checkOwn(): void {
    const { storeId } = this.own();
    if (storeId !== null && storeId !== this.#identity.store) throw this.#refused();
  }

  isPublished(): boolean {
    const own = this.own();
    return (
      own.storeId === this.#identity.store &&
      own.name === this.#options.name &&
      own.clientUrls.length === this.#options.clientUrls.length &&
      own.clientUrls.every((url, i) => url === this.#options.clientUrls[i])
    );
  }

  /** Tries until it is applied, or `propose` refuses because the node stops. */
  async publish(propose: (command: Uint8Array) => Promise<Outcome>): Promise<void> {
    const value = {
      member: this.#identity.member,
      name: this.#options.name,
      clientUrls: [...this.#options.clientUrls],
      storeId: this.#identity.store,
    };
    const request = { $case: "memberAttributes" as const, value };
    const command = Command.encode({ request, proposal: undefined }).finish();
    while (!this.isPublished()) {
      try {
        const outcome = await propose(command);
        if (outcome.type === "error") throw this.#refused();
        this.#logger.info({ name: value.name, clientUrls: value.clientUrls }, "member published");
      } catch (error) {
        if (!(error instanceof RequestError)) throw error;
        if (error.message === RequestError.of("stopped").message) return;
        this.#logger.warn({ cause: error.message }, "publishing this member waits for a leader");
        await new Promise<void>((resolve) => {
          this.#clock.after(this.#options.publishRetryMs, resolve);
        });
      }
    }
  }

  #refused(): MemberRefused {
    const { member, store } = this.#identity;
    return new MemberRefused(
      `the cluster knows member ${member} by another data directory than this one (store id ` +
        `${store}): restore the old directory, or remove the member and add it anew`,
    );
  }
}
