// What clients were told of their leases against what the log did to them: no expiry before the TTL
// has passed since a renewal that was acknowledged began (I44), no renewal of a lease that is gone
// (I43), no word that a living lease is gone. The leader measures by its own clock, so the bound is
// the TTL by the fastest clock there may be.
import type { CommittedLog, LeaseLife } from "./committed-log.ts";
import { must } from "./violation.ts";

interface Renewal {
  readonly calledAt: number;
  readonly ttlSeconds: number;
}

type Truth = Pick<CommittedLog, "lease" | "leases">;

export class LeaseValidator {
  readonly #log: Truth;
  readonly #rateMax: number;
  readonly #renewals = new Map<string, Renewal[]>();

  constructor(log: Truth, options: { rateMax: number }) {
    this.#log = log;
    this.#rateMax = options.rateMax;
  }

  granted(id: string, renewal: Renewal): void {
    must(this.#life(id) !== undefined, "I22", () => `the grant of lease ${id} is not in the log`);
    this.#renewals.set(id, [renewal]);
  }

  renewed(id: string, renewal: Renewal): void {
    const renewals = this.#renewals.get(id) ?? [];
    this.#renewals.set(id, renewals);
    renewals.push(renewal);
    const end = this.#life(id)?.end ?? null;
    must(
      end === null || end.at >= renewal.calledAt,
      "I43",
      () => `lease ${id} is renewed at ${renewal.calledAt}, and ended at ${end?.at}`,
    );
  }

  /** A client was told that the lease, whose grant was acknowledged, does not exist. */
  calledGone(id: string): void {
    must(this.#log.lease(id) === undefined, "I23", () => `lease ${id} lives, and is called gone`);
  }

  /** When the log is final. */
  finish(): void {
    for (const { id, end } of this.#log.leases) {
      if (end === null || !end.isExpiry) continue;
      for (const { calledAt, ttlSeconds } of this.#renewals.get(id) ?? []) {
        const earliest = calledAt + (ttlSeconds * 1000) / this.#rateMax;
        must(
          end.at < calledAt || end.at >= earliest,
          "I44",
          () => `lease ${id} of ${ttlSeconds} s, renewed at ${calledAt}, expires at ${end.at}`,
        );
      }
    }
  }

  /** Ids are given once. */
  #life(id: string): LeaseLife | undefined {
    return this.#log.lease(id) ?? this.#log.leases.find((life) => life.id === id);
  }
}
