// Clients that watch: each has one watch, follows it over any member, and resumes after every break
// from where the last response left it. Some read slowly, some leave in the middle, some ask for
// progress. What comes is the validator's to judge.
import { RequestError } from "../../src/base/errors.ts";
import type { Prng } from "../../src/base/prng.ts";
import {
  WatchCreateRequest,
  WatchCreateRequest_FilterType,
  WatchRequest,
  WatchResponse,
} from "../../src/proto/etcdserverpb/watch.ts";
import type { ClientLink, ClientStream } from "./client-link.ts";
import type { SimCluster } from "./cluster.ts";
import type { CommittedLog } from "./committed-log.ts";
import { must } from "./violation.ts";
import { WatchValidator } from "./watch-validator.ts";

const path = "/etcdserverpb.Watch/Watch";

export class WatchClients {
  readonly validators: WatchValidator[] = [];
  readonly #deps: { cluster: SimCluster; clients: ClientLink; log: CommittedLog; prng: Prng };
  readonly #keyCount: number;
  #isCalm = false;

  constructor(
    deps: { cluster: SimCluster; clients: ClientLink; log: CommittedLog; prng: Prng },
    options: { keyCount: number },
  ) {
    this.#deps = deps;
    this.#keyCount = options.keyCount;
  }

  /** One more, from the past, from now, or from the future. */
  add(): void {
    const { log, prng } = this.#deps;
    const revision = log.revision();
    const first = prng.below(this.#keyCount);
    const isRange = prng.chance(0.6);
    const filter = prng.below(6);
    const wish = {
      key: bytesOf(`k${first}`),
      rangeEnd: isRange ? (prng.chance(0.3) ? Uint8Array.of(0) : bytesOf(`k${first + 4}`)) : none,
      wantsPuts: filter !== 0,
      wantsDeletes: filter !== 1,
      wantsPrev: prng.chance(0.3),
      start: prng.pick([null, Math.max(1, revision - prng.below(60)), revision + prng.below(20)]),
    };
    // A range that ends before it begins is refused.
    if (isRange && wish.rangeEnd.length > 1 && `k${first + 4}` <= `k${first}`) wish.rangeEnd = none;
    const validator = new WatchValidator(`watch ${this.validators.length}`, log, wish);
    this.validators.push(validator);
    this.#connect(validator);
  }

  /** No client leaves or lags any more. */
  calm(): void {
    this.#isCalm = true;
  }

  areComplete(): boolean {
    return this.validators.every((validator) => validator.isComplete());
  }

  #connect(validator: WatchValidator): void {
    const { cluster, clients, prng } = this.#deps;
    const isSlow = prng.chance(0.2);
    let stream: ClientStream | null = null;
    let isOver = false;
    const again = () => {
      if (isOver) return;
      isOver = true;
      validator.broken();
      cluster.clock.after(prng.between(5, 400), () => this.#connect(validator));
    };
    stream = clients.open(prng.pick(cluster.members), path, {
      response: (bytes) => {
        if (isOver) return;
        const response = WatchResponse.decode(bytes);
        validator.response(response);
        if (response.canceled) {
          stream?.close();
          again();
        }
      },
      ended: (error) => {
        const isRefusal = error === null || error instanceof RequestError;
        must(isRefusal, "G4", () => `a watch stream throws ${String(error)}`);
        again();
      },
      readMs: () => (isSlow && !this.#isCalm ? prng.below(200) : 0.1),
    });
    if (stream === null) return again();
    stream.send(createRequest(validator, prng));
    this.#disturb(stream, () => isOver, again);
  }

  /** Now and then the client asks for progress, or leaves. */
  #disturb(stream: ClientStream, isOver: () => boolean, again: () => void): void {
    const { cluster, prng } = this.#deps;
    cluster.clock.after(prng.between(300, 4000), () => {
      if (isOver()) return;
      if (prng.chance(0.3) && !this.#isCalm) {
        stream.close();
        return again();
      }
      const value = {};
      stream.send(
        WatchRequest.encode({ requestUnion: { $case: "progressRequest", value } }).finish(),
      );
      this.#disturb(stream, isOver, again);
    });
  }
}

const none = new Uint8Array(0);

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function createRequest(validator: WatchValidator, prng: Prng): Uint8Array {
  const { key, rangeEnd, wantsPuts, wantsDeletes, wantsPrev } = validator.wish;
  const filters: WatchCreateRequest_FilterType[] = [];
  if (!wantsPuts) filters.push(WatchCreateRequest_FilterType.NOPUT);
  if (!wantsDeletes) filters.push(WatchCreateRequest_FilterType.NODELETE);
  const value = WatchCreateRequest.fromPartial({
    key,
    rangeEnd,
    filters,
    startRevision: validator.next() ?? 0,
    prevKv: wantsPrev,
    progressNotify: prng.chance(0.5),
    fragment: prng.chance(0.5),
  });
  return WatchRequest.encode({ requestUnion: { $case: "createRequest", value } }).finish();
}
