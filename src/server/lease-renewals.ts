// Renewals on their way to one leader, from the member that got them. What gathers in one turn
// leaves in one call, and when the allowed calls are under way, what gathers meanwhile is the next:
// a hundred thousand leases kept alive through a follower are a few calls, and one leadership
// confirmation on the leader for each of them.
//
//   renew --> gathered --a turn later, a call is free--> under way --> its own TTL, or the call's error
//                |
//                +-- the leader is another: refused, to be asked anew
//
// Each renewal keeps its own answer; an error of the call is every caller's, who may ask again.
// How many gather is bounded by the lease keeper, which counts its callers.
import { RequestError } from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import type { LeaseId } from "../base/ids.ts";
import type { LeaseForwarding } from "../peer/transport.ts";
import type { NodeOptions } from "./node-options.ts";

interface Renewal {
  readonly id: LeaseId;
  readonly resolve: (ttl: number) => void;
  readonly reject: (error: RequestError) => void;
}

export class LeaseRenewals {
  readonly #leader: Pick<LeaseForwarding, "renew">;
  readonly #clock: Clock;
  readonly #options: NodeOptions;
  #gathered: Renewal[] = [];
  /** Calls under way. At most leaseRenewalCallsMax. */
  #callCount = 0;
  #isSendDue = false;

  constructor(
    deps: { leader: Pick<LeaseForwarding, "renew">; clock: Clock },
    options: NodeOptions,
  ) {
    this.#leader = deps.leader;
    this.#clock = deps.clock;
    this.#options = options;
  }

  /** As LeaseForwarding.renew answers for it. */
  renew(id: LeaseId): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#gathered.push({ id, resolve, reject });
      this.#sendSoon();
    });
  }

  /** The leader is another: what was not sent to this one may be asked of that one. */
  stop(): void {
    for (const { reject } of this.#gathered) reject(RequestError.of("leaderChanged"));
    this.#gathered = [];
  }

  #sendSoon(): void {
    if (this.#isSendDue || this.#gathered.length === 0) return;
    this.#isSendDue = true;
    this.#clock.soon(() => {
      this.#isSendDue = false;
      this.#send();
    });
  }

  #send(): void {
    const { leaseRenewalsPerCall, leaseRenewalCallsMax } = this.#options;
    while (this.#gathered.length > 0 && this.#callCount < leaseRenewalCallsMax) {
      const together = this.#gathered.slice(0, leaseRenewalsPerCall);
      this.#gathered = this.#gathered.slice(leaseRenewalsPerCall);
      this.#callCount += 1;
      void this.#call(together);
    }
  }

  async #call(together: readonly Renewal[]): Promise<void> {
    try {
      const ttls = await this.#leader.renew(together.map(({ id }) => id));
      together.forEach(({ resolve }, i) => resolve(ttls[i] as number));
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      for (const { reject } of together) reject(error);
    }
    this.#callCount -= 1;
    this.#sendSoon();
  }
}
