// When leases end: a map of deadlines, filed by the second in which each was due when filed.
//
// A renewal only moves the deadline in the map; the filing is looked at when its second comes, and
// filed anew if the lease was renewed since. So a renewal costs one map write, and a lease is
// moved once in its TTL, however often it is renewed. Time is the keeper's lease time, in
// milliseconds. Invariant: each lease has exactly one valid filing, the one its record names.
import type { LeaseId } from "../base/ids.ts";

interface Filed {
  deadline: number;
  second: number;
}

export class LeaseDeadlines {
  readonly #filed = new Map<LeaseId, Filed>();
  readonly #seconds = new Map<number, LeaseId[]>();
  /** From seconds that have passed, not yet judged. */
  #passed: LeaseId[] = [];
  #nextSecond: number;

  constructor(now: number) {
    this.#nextSecond = Math.floor(now / 1000);
  }

  size(): number {
    return this.#filed.size;
  }

  get(id: LeaseId): number | undefined {
    return this.#filed.get(id)?.deadline;
  }

  set(id: LeaseId, deadline: number): void {
    const filed = this.#filed.get(id);
    if (filed !== undefined && filed.deadline <= deadline) filed.deadline = deadline;
    else this.#file(id, deadline);
  }

  delete(id: LeaseId): void {
    this.#filed.delete(id);
  }

  /** Keeps only what `isKept` says. */
  prune(isKept: (id: LeaseId) => boolean): void {
    for (const id of this.#filed.keys()) if (!isKept(id)) this.#filed.delete(id);
  }

  /** Takes out up to `countMax` leases whose deadline has passed. */
  due(now: number, countMax: number): LeaseId[] {
    const second = Math.floor(now / 1000);
    for (; this.#nextSecond <= second; this.#nextSecond++) {
      const ids = this.#seconds.get(this.#nextSecond);
      if (ids === undefined) continue;
      this.#seconds.delete(this.#nextSecond);
      for (const id of ids) {
        const filed = this.#filed.get(id);
        if (filed?.second === this.#nextSecond) this.#passed.push(id);
      }
    }
    return this.#judge(now, countMax);
  }

  #judge(now: number, countMax: number): LeaseId[] {
    const due: LeaseId[] = [];
    const waiting: LeaseId[] = [];
    for (const id of this.#passed) {
      const filed = this.#filed.get(id);
      if (filed === undefined) continue;
      if (filed.deadline > now && filed.deadline >= this.#nextSecond * 1000) {
        this.#file(id, filed.deadline);
      } else if (filed.deadline > now || due.length >= countMax) {
        waiting.push(id);
      } else {
        this.#filed.delete(id);
        due.push(id);
      }
    }
    this.#passed = waiting;
    return due;
  }

  #file(id: LeaseId, deadline: number): void {
    const second = Math.floor(deadline / 1000);
    this.#filed.set(id, { deadline, second });
    const ids = this.#seconds.get(second);
    if (second < this.#nextSecond) this.#passed.push(id);
    else if (ids === undefined) this.#seconds.set(second, [id]);
    else ids.push(id);
  }
}
