// Many lives of one log: each ends at some step, with the process alone or with the power, and the
// next finds what was acknowledged, whatever the lives before left behind. WAL_SEEDS=n runs that
// many.
import { expect, test } from "vitest";
import { Prng } from "../../src/base/prng.ts";
import type { LogAppend } from "../../src/raft/ready.ts";
import { prepareNow } from "../../src/wal/segment.ts";
import type { WalWriter } from "../../src/wal/wal-writer.ts";
import { entries, member } from "../contract/log.ts";
import { SimCrash, SimFiles } from "../sim/sim-files.ts";
import { contentAfter, contentOf, describeContent, emptyContent } from "./scripted-log.ts";
import { encodeAppend, open, type LogContent } from "./scripted-log.ts";

const segmentBytes = 4 * 4096;
const seedCount = Number(process.env["WAL_SEEDS"] ?? 500);
const livesPerSeed = 12;

class Lives {
  readonly #prng: Prng;
  #files = new SimFiles();
  #acknowledged: LogContent = emptyContent;
  /** What the append under way would make of it. */
  #next: LogContent = emptyContent;

  constructor(seed: number) {
    this.#prng = new Prng(seed);
  }

  /** One life, from its start to its end at a random step. */
  live(): void {
    const prng = this.#prng;
    const steps = prng.between(1, prng.pick([5, 15, 30, 60]));
    this.#files.crashAtStep = this.#files.steps() + steps;
    try {
      const { writer } = open(this.#files, segmentBytes);
      this.#judge(contentOf(writer));
      for (;;) this.#act(writer);
    } catch (error) {
      if (!(error instanceof SimCrash)) throw error;
    }
    if (prng.chance(0.5)) return this.#files.restart();
    const survival = prng.pick([0, 0.2, 0.5, 0.8, 1]);
    this.#files = this.#files.afterCrash(() => prng.chance(survival));
  }

  #judge(found: string): void {
    const isNext = found === describeContent(this.#next);
    if (!isNext) expect(found).toBe(describeContent(this.#acknowledged));
    this.#acknowledged = this.#next = isNext ? this.#next : this.#acknowledged;
  }

  #act(writer: WalWriter): void {
    if (this.#prng.chance(0.3) && writer.preparedMissing() > 0) {
      const preparation = writer.nextPreparation();
      prepareNow(this.#files, preparation);
      return writer.addPrepared(preparation.name);
    }
    const batch = this.#batch();
    this.#next = contentAfter(this.#acknowledged, batch);
    writer.append([encodeAppend(batch, this.#acknowledged.entries.length)]);
    this.#acknowledged = this.#next;
  }

  #batch(): LogAppend {
    const prng = this.#prng;
    const last = this.#acknowledged.entries.length;
    const term = Math.max(1, this.#acknowledged.hardState.term + prng.below(2));
    const hardState = { term, vote: prng.pick([member, null]), commit: 0 };
    const first = prng.chance(0.2) ? prng.between(1, last + 1) : last + 1;
    const count = prng.below(4);
    if (count === 0) return { hardState, entries: [] };
    const bytes = prng.pick([10, 500, 3000, 9000]);
    return { hardState, entries: entries(first, first + count - 1, term, bytes) };
  }
}

test("openDirectory finds what was acknowledged after any row of deaths and power losses", () => {
  for (let seed = 1; seed <= seedCount; seed++) {
    const lives = new Lives(seed);
    for (let life = 1; life <= livesPerSeed; life++) {
      try {
        lives.live();
      } catch (error) {
        throw new Error(`seed ${seed}, life ${life}`, { cause: error });
      }
    }
  }
}, 120_000);
