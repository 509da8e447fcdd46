// Random requests of the KV service: over few keys, so that they meet; with values that no other
// request has, so that the log can be asked what became of each.
import type { Prng } from "../../src/base/prng.ts";
import type { Compare, RequestOp, TxnRequest } from "../../src/proto/etcdserverpb/kv.ts";
import {
  Compare as CompareForm,
  Compare_CompareResult,
  Compare_CompareTarget,
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RangeRequest_SortOrder,
  RangeRequest_SortTarget,
  TxnRequest as TxnRequestForm,
} from "../../src/proto/etcdserverpb/kv.ts";
import type { KvCall } from "./history.ts";

/** What a generator knows of the run so far. */
export interface Surroundings {
  readonly revision: number;
  readonly compactRevision: number;
  /** Leases that were granted, newest last. */
  readonly leases: readonly string[];
}

export const keyCount = 12;

export class Requests {
  readonly #prng: Prng;
  readonly #valueBytesMax: number;
  #lastValue = 0;

  constructor(prng: Prng, options: { valueBytesMax: number }) {
    this.#prng = prng;
    this.#valueBytesMax = options.valueBytesMax;
  }

  draw(around: Surroundings): KvCall {
    const choice = this.#prng.below(100);
    if (choice < 36) return { kind: "put", request: this.#put(around) };
    if (choice < 44) return { kind: "deleteRange", request: this.#deleteRange() };
    if (choice < 66) return { kind: "txn", request: this.#txn(around, 0) };
    if (choice < 84) return { kind: "range", request: this.#range(0, false) };
    if (choice < 90) return { kind: "range", request: this.#range(0, true) };
    if (choice < 96) return { kind: "range", request: this.#range(this.#past(around), false) };
    const revision = around.revision - this.#prng.below(40);
    return { kind: "compaction", request: { revision: Math.max(1, revision), physical: false } };
  }

  /** Never used before. */
  value(): Uint8Array {
    const padding = ".".repeat(this.#prng.below(this.#valueBytesMax));
    return bytesOf(`v${++this.#lastValue}${padding}`);
  }

  #put(around: Surroundings): PutRequest {
    const prng = this.#prng;
    const lease =
      around.leases.length > 0 && prng.chance(0.35) ? prng.pick(around.leases.slice(-5)) : "0";
    return PutRequest.fromPartial({
      key: this.#key(),
      value: this.value(),
      lease,
      prevKv: prng.chance(0.3),
      ignoreLease: lease === "0" && prng.chance(0.1),
    });
  }

  #deleteRange(): DeleteRangeRequest {
    const prng = this.#prng;
    return DeleteRangeRequest.fromPartial({ ...this.#keys(0.3), prevKv: prng.chance(0.5) });
  }

  #range(revision: number, serializable: boolean): RangeRequest {
    const prng = this.#prng;
    return RangeRequest.fromPartial({
      ...this.#keys(0.6),
      revision,
      serializable,
      limit: prng.chance(0.3) ? prng.between(1, 4) : 0,
      countOnly: prng.chance(0.1),
      keysOnly: prng.chance(0.1),
      sortOrder: prng.chance(0.2) ? RangeRequest_SortOrder.DESCEND : RangeRequest_SortOrder.NONE,
      sortTarget: prng.chance(0.2) ? RangeRequest_SortTarget.MOD : RangeRequest_SortTarget.KEY,
    });
  }

  /** Compare and swap, several keys, nested, or only reading. */
  #txn(around: Surroundings, depth: number): TxnRequest {
    const prng = this.#prng;
    const isReadOnly = depth === 0 && prng.chance(0.15);
    const keys = Array.from({ length: prng.between(1, 3) }, () => this.#key());
    const branch = (): RequestOp[] => {
      const own = new Set(keys.map((key) => String.fromCharCode(...key)));
      const operations = [...own].map((key): RequestOp => {
        const choice = isReadOnly ? 9 : prng.below(10);
        if (choice < 6) {
          const value = { ...this.#put(around), key: bytesOf(key) };
          return { request: { $case: "requestPut", value } };
        }
        if (choice < 8) {
          const value = DeleteRangeRequest.fromPartial({ key: bytesOf(key), prevKv: true });
          return { request: { $case: "requestDeleteRange", value } };
        }
        return { request: { $case: "requestRange", value: this.#range(0, false) } };
      });
      // Of keys that the outer transaction does not touch: duplicates are refused.
      if (depth === 0 && !isReadOnly && prng.chance(0.2)) {
        const value = this.#nested(own);
        operations.push({ request: { $case: "requestTxn", value } });
      }
      return operations;
    };
    const compare = keys.slice(0, prng.below(3)).map((key) => this.#compare(key, around));
    return TxnRequestForm.fromPartial({ compare, success: branch(), failure: branch() });
  }

  #nested(taken: ReadonlySet<string>): TxnRequest {
    const free = Array.from({ length: keyCount }, (_, i) => `k${i}`).filter(
      (key) => !taken.has(key),
    );
    const key = bytesOf(this.#prng.pick(free));
    const put = (): RequestOp => {
      const value = PutRequest.fromPartial({ key, value: this.value() });
      return { request: { $case: "requestPut", value } };
    };
    const compare = [this.#exists(key)];
    return TxnRequestForm.fromPartial({ compare, success: [put()], failure: [put()] });
  }

  #compare(key: Uint8Array, around: Surroundings): Compare {
    const prng = this.#prng;
    if (prng.chance(0.4)) return this.#exists(key);
    return CompareForm.fromPartial({
      key,
      target: Compare_CompareTarget.MOD,
      result: prng.pick([Compare_CompareResult.LESS, Compare_CompareResult.GREATER]),
      targetUnion: {
        $case: "modRevision",
        value: Math.max(1, around.revision - prng.below(20)),
      },
    });
  }

  #exists(key: Uint8Array): Compare {
    return CompareForm.fromPartial({
      key,
      target: Compare_CompareTarget.CREATE,
      result: Compare_CompareResult.GREATER,
      targetUnion: { $case: "createRevision", value: 0 },
    });
  }

  #past({ revision, compactRevision }: Surroundings): number {
    const oldest = Math.max(1, compactRevision - 3);
    return this.#prng.between(Math.min(oldest, revision), revision + 2);
  }

  #keys(rangeChance: number): { key: Uint8Array; rangeEnd: Uint8Array } {
    const prng = this.#prng;
    if (!prng.chance(rangeChance)) return { key: this.#key(), rangeEnd: new Uint8Array(0) };
    return { key: this.#key(), rangeEnd: prng.chance(0.3) ? Uint8Array.of(0) : bytesOf("k9") };
  }

  #key(): Uint8Array {
    return bytesOf(`k${this.#prng.below(keyCount)}`);
  }
}

const encoder = new TextEncoder();

export function bytesOf(text: string): Uint8Array {
  return encoder.encode(text);
}
