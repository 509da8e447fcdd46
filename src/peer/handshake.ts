// Who may talk to this member: judged from the first message of every peer stream, before any
// consensus field is parsed, in both directions.
//
// Refused: another cluster, another target, a stranger, another protocol; a voter whose store id
// is not the replicated one (its data directory was wiped, and with it votes and entries it
// acknowledged: F3, F4); a start counter lower than one already seen (an old copy of its data
// directory: F5); and the same start counter with another run id: each start is counted on disk
// before it talks, so two runs of one start are two processes on copies of one directory, and the
// one that was heard first stays (F2). Before a store id is replicated, the first one seen counts.
// What was seen is forgotten with the process; what is replicated is not. A refusal is logged once,
// and again only when its reason changes.
import type { ClusterId, MemberId, StoreId } from "../base/ids.ts";
import type { Logger } from "../base/logger.ts";
import type { Channel, Hello, HelloResponse } from "../proto/keelson/peer.ts";

/** Members of another version refuse each other. */
export const protocolVersion = 1;

/** What this member says of itself. */
export interface PeerIdentity {
  readonly cluster: ClusterId;
  readonly member: MemberId;
  readonly store: StoreId;
  /** This start's counter. */
  readonly start: number;
  /** Random, of this process; in no file. */
  readonly run: string;
  readonly electionMs: number;
}

interface Seen {
  readonly store: string;
  readonly start: number;
  readonly run: string;
}

export class Handshake {
  readonly #self: PeerIdentity;
  readonly #members: ReadonlySet<MemberId>;
  readonly #replicatedStore: (member: MemberId) => StoreId | null;
  readonly #logger: Logger;
  /** Of members only. */
  readonly #seen = new Map<MemberId, Seen>();
  /** Last refusal by member; all strangers share one place. */
  readonly #refusals = new Map<string, string>();

  constructor(deps: {
    self: PeerIdentity;
    peers: readonly MemberId[];
    /** What the replicated log says (server/known-stores.ts); null: not published yet. */
    replicatedStore: (member: MemberId) => StoreId | null;
    logger: Logger;
  }) {
    this.#self = deps.self;
    this.#members = new Set(deps.peers);
    this.#replicatedStore = deps.replicatedStore;
    this.#logger = deps.logger;
  }

  hello(to: MemberId, channel: Channel): Hello {
    return {
      clusterId: this.#self.cluster,
      from: this.#self.member,
      to,
      storeId: this.#self.store,
      start: this.#self.start,
      run: this.#self.run,
      channel,
      protocolVersion,
      electionTimeoutMs: this.#self.electionMs,
    };
  }

  response(refusal: string): HelloResponse {
    const { store, start, run } = this.#self;
    return { refusal, storeId: store, start, run };
  }

  /** Why a dialing member is refused; null: it may talk. */
  judgeHello(hello: Hello): string | null {
    const refusal = this.#helloRefusal(hello);
    this.#note(hello.from, refusal, "refused a peer");
    if (refusal === null && hello.electionTimeoutMs !== this.#self.electionMs) {
      const { from, electionTimeoutMs } = hello;
      this.#logger.warn(
        { peer: from, electionTimeoutMs, own: this.#self.electionMs },
        "members have different election timeouts: set --election-timeout to one value",
      );
    }
    return refusal;
  }

  /** Why nothing is sent to a dialed member; null: it may be talked to. */
  judgeResponse(peer: MemberId, response: HelloResponse): string | null {
    const refusal =
      response.refusal === "" ? this.#identityRefusal(peer, response) : response.refusal;
    this.#note(`to ${peer}`, refusal, "peer connection refused");
    return refusal;
  }

  #helloRefusal(hello: Hello): string | null {
    const { cluster, member } = this.#self;
    if (hello.protocolVersion !== protocolVersion) {
      return (
        `member ${hello.from} speaks peer protocol ${hello.protocolVersion}, member ${member} ` +
        `speaks ${protocolVersion}: run one version of keelson`
      );
    }
    if (hello.clusterId !== cluster) {
      return (
        `member ${hello.from} belongs to cluster ${hello.clusterId}, member ${member} to ` +
        `${cluster}: check --initial-cluster and --initial-cluster-token of both`
      );
    }
    if (hello.to !== member) {
      return `this is member ${member}, not ${hello.to}: check the peer URLs of both`;
    }
    if (!this.#members.has(hello.from as MemberId)) {
      return `member ${hello.from} is not in this cluster: add it first`;
    }
    return this.#identityRefusal(hello.from as MemberId, hello);
  }

  #identityRefusal(
    peer: MemberId,
    { storeId, start, run }: { storeId: string; start: number; run: string },
  ): string | null {
    const seen = this.#seen.get(peer);
    const known = this.#replicatedStore(peer) ?? seen?.store ?? null;
    if (known !== null && known !== storeId) {
      return (
        `member ${peer} comes with another data directory (store id ${storeId}) than the cluster ` +
        `knows (${known}): restore the old one, or remove the member and add it anew`
      );
    }
    if (seen !== undefined && start < seen.start) {
      return (
        `member ${peer} has started ${start} times, but start ${seen.start} was seen: this is an ` +
        `old copy of its data directory; remove the member and add it anew`
      );
    }
    if (seen !== undefined && start === seen.start && run !== seen.run) {
      return (
        `member ${peer} runs twice: start ${start} was seen as run ${seen.run}, and comes as run ` +
        `${run}; stop this one, and delete its copy of the data directory`
      );
    }
    this.#seen.set(peer, { store: storeId, start, run });
    return null;
  }

  #note(about: string, refusal: string | null, text: string): void {
    const place = this.#members.has(about as MemberId) || about.startsWith("to ") ? about : "other";
    if (refusal === null) {
      this.#refusals.delete(place);
    } else if (this.#refusals.get(place) !== refusal) {
      this.#refusals.set(place, refusal);
      this.#logger.error({ peer: about, refusal }, text);
    }
  }
}
