// The simulated network: the third party between members. Loss, doubling, delay with reordering,
// late replay of what passed before, one-way cuts, connection resets; every choice from one
// generator. Handshakes are the real ones, judged when a life of a member first hears from a life
// of another, and messages travel in their wire form, so that nothing is shared between members and
// a codec bug shows here too.
import { RequestError } from "../../src/base/errors.ts";
import type { Clock } from "../../src/base/clock.ts";
import type { MemberId } from "../../src/base/ids.ts";
import type { Prng } from "../../src/base/prng.ts";
import { decodeFrame, encodeFrame } from "../../src/peer/frame.ts";
import type { Handshake } from "../../src/peer/handshake.ts";
import type { LeaseForwarding, Transport, TransportReceiver } from "../../src/peer/transport.ts";
import { Channel } from "../../src/proto/keelson/peer.ts";
import type { Message } from "../../src/raft/message.ts";
import type { MemberClock } from "./member-clock.ts";

export interface NetworkFaults {
  /** Each message is delayed by a draw between these. */
  readonly delayMsMin: number;
  readonly delayMsMax: number;
  /** Probabilities, for each message. */
  readonly loss: number;
  readonly duplication: number;
  /** Probability of a delay of up to tailMs: the message overtakes nothing, others overtake it. */
  readonly tail: number;
  readonly tailMs: number;
}

export const calmNetwork: NetworkFaults = {
  delayMsMin: 1,
  delayMsMax: 2,
  loss: 0,
  duplication: 0,
  tail: 0,
  tailMs: 0,
};

const leaseCallMs = 2000;
/** Frames kept for late replay. */
const archiveMax = 256;

/** On its way to one member; doubles and replays are for that member too. */
interface Sent {
  readonly frame: Buffer;
  readonly to: MemberId;
  readonly from: SimTransport;
  /** What the frame holds, once it was decoded. */
  messages: readonly Message[] | null;
}

export class SimNetwork {
  readonly #clock: Clock;
  readonly #prng: Prng;
  faults: NetworkFaults = calmNetwork;
  /** Sees every message that leaves a member, as it leaves. */
  sent: (message: Message) => void = () => {};
  /** Sees every message that is delivered. */
  observe: (message: Message) => void = () => {};
  readonly #transports = new Map<MemberId, SimTransport>();
  /** By sender, to whom nothing of its passes. */
  readonly #cuts = new Map<MemberId, Set<MemberId>>();
  readonly #archive: Sent[] = [];
  #archiveNext = 0;

  constructor(deps: { clock: Clock; prng: Prng }) {
    this.#clock = deps.clock;
    this.#prng = deps.prng;
  }

  /** For one life of a member; replaces the one of its life before. */
  transport(self: MemberId, life: { clock: MemberClock; handshake: Handshake }): SimTransport {
    const transport = new SimTransport(this, self, life);
    this.#transports.set(self, transport);
    return transport;
  }

  /** One way. */
  cut(from: MemberId, to: MemberId): void {
    const cut = this.#cuts.get(from);
    if (cut === undefined) this.#cuts.set(from, new Set([to]));
    else cut.add(to);
  }

  uncut(from: MemberId, to: MemberId): void {
    this.#cuts.get(from)?.delete(to);
  }

  /** Both ways, between the member and everyone else. */
  isolate(member: MemberId): void {
    for (const other of this.#transports.keys()) {
      if (other === member) continue;
      this.cut(member, other);
      this.cut(other, member);
    }
  }

  heal(): void {
    this.#cuts.clear();
  }

  isCut(from: MemberId, to: MemberId): boolean {
    return this.#cuts.get(from)?.has(to) ?? false;
  }

  /** Its process is gone: the others see their connections reset. */
  reset(member: MemberId): void {
    for (const transport of this.#transports.values()) {
      if (transport.self === member || this.isCut(member, transport.self)) continue;
      this.#later(() => transport.peerReset(member));
    }
  }

  /** The connections between two members break; both notice. */
  disconnect(one: MemberId, other: MemberId): void {
    this.#later(() => this.#transports.get(one)?.peerReset(other));
    this.#later(() => this.#transports.get(other)?.peerReset(one));
  }

  carry(message: Message, from: SimTransport): void {
    this.sent(message);
    if (this.isCut(message.from, message.to) || this.#prng.chance(this.faults.loss)) return;
    const sent: Sent = { frame: encodeFrame([message]), to: message.to, from, messages: null };
    this.#archive[this.#archiveNext++ % archiveMax] = sent;
    const copies = this.#prng.chance(this.faults.duplication) ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) this.#deliverLater(sent);
  }

  /** Some of what passed before comes once more, whatever its sender's fate since. */
  replay(count: number): void {
    for (let i = 0; i < count && this.#archive.length > 0; i++) {
      this.#deliverLater(this.#prng.pick(this.#archive));
    }
  }

  /** There and back; a cut or a loss shows as a timeout. */
  async call<Answer>(
    from: MemberId,
    to: MemberId,
    ask: (leases: LeaseForwarding) => Promise<Answer>,
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(leaseCallMs, () => {
        reject(RequestError.of("timeoutDueToConnectionLost"));
      });
      if (this.isCut(from, to) || this.#prng.chance(this.faults.loss)) return;
      const back = (answer: () => void) => {
        if (this.#prng.chance(this.faults.loss)) return;
        this.#later(() => {
          if (this.isCut(to, from)) return;
          timer.cancel();
          answer();
        });
      };
      this.#later(() => {
        this.#transports
          .get(to)
          ?.answer(ask)
          .then(
            (answer) => back(() => resolve(answer)),
            (error: unknown) => back(() => reject(error)),
          );
      });
    });
  }

  reachable(from: SimTransport): MemberId[] {
    return [...this.#transports.values()]
      .filter((to) => to !== from && to.isOpen() && !this.isCut(from.self, to.self))
      .map(({ self }) => self);
  }

  #deliverLater(sent: Sent): void {
    const { to, from } = sent;
    this.#later(() => {
      const transport = this.#transports.get(to);
      if (transport === undefined || this.isCut(from.self, to)) return;
      sent.messages ??= decodeFrame(sent.frame);
      for (const message of sent.messages) {
        if (transport.deliver(message, from)) this.observe(message);
      }
    });
  }

  #later(run: () => void): void {
    const { delayMsMin, delayMsMax, tail, tailMs } = this.faults;
    const extra = this.#prng.chance(tail) ? this.#prng.below(tailMs + 1) : 0;
    const delay = delayMsMin + (delayMsMax - delayMsMin) * (this.#prng.uint32() / 0x100000000);
    this.#clock.after(delay + extra, run);
  }
}

export class SimTransport implements Transport {
  readonly self: MemberId;
  readonly #network: SimNetwork;
  readonly #clock: MemberClock;
  readonly #handshake: Handshake;
  /** Lives of other members that introduced themselves to this one. */
  readonly #welcomed = new Set<SimTransport>();
  #receiver: TransportReceiver | null = null;
  #leases: LeaseForwarding | null = null;

  constructor(
    network: SimNetwork,
    self: MemberId,
    life: { clock: MemberClock; handshake: Handshake },
  ) {
    this.#network = network;
    this.self = self;
    this.#clock = life.clock;
    this.#handshake = life.handshake;
  }

  start(receiver: TransportReceiver, leases: LeaseForwarding): void {
    this.#receiver = receiver;
    this.#leases = leases;
  }

  isOpen(): boolean {
    return this.#receiver !== null;
  }

  send(messages: readonly Message[]): void {
    if (this.#receiver === null) return;
    for (const message of messages) this.#network.carry(message, this);
  }

  leases(member: MemberId): LeaseForwarding {
    return {
      renew: (lease) => this.#network.call(this.self, member, (leases) => leases.renew(lease)),
      remaining: (lease) =>
        this.#network.call(this.self, member, (leases) => leases.remaining(lease)),
    };
  }

  connected(): readonly MemberId[] {
    return this.#network.reachable(this);
  }

  /** The process ends: nothing comes in or goes out any more. */
  close(): Promise<void> {
    if (this.#receiver !== null) this.#network.reset(this.self);
    this.#receiver = null;
    this.#leases = null;
    return Promise.resolve();
  }

  /** False: the two refuse each other. */
  deliver(message: Message, from: SimTransport): boolean {
    if (this.#receiver === null || !this.#welcomes(from)) return false;
    this.#clock.arrive(() => this.#receiver?.receive(message));
    return true;
  }

  peerReset(peer: MemberId): void {
    this.#clock.arrive(() => this.#receiver?.disconnected(peer));
  }

  answer<Answer>(ask: (leases: LeaseForwarding) => Promise<Answer>): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#clock.arrive(() => {
        if (this.#leases !== null) ask(this.#leases).then(resolve, reject);
      });
    });
  }

  #welcomes(from: SimTransport): boolean {
    if (this.#welcomed.has(from)) return true;
    const hello = from.#handshake.hello(this.self, Channel.BULK);
    if (this.#handshake.judgeHello(hello) !== null) return false;
    const refusal = from.#handshake.judgeResponse(this.self, this.#handshake.response(""));
    if (refusal === null) this.#welcomed.add(from);
    return refusal === null;
  }
}
