// The simulated network: the third party between members. Loss, doubling, delay with reordering,
// one-way cuts, connection resets; every choice from one generator. Handshakes are the real ones,
// judged at delivery, and messages travel in their wire form, so that nothing is shared between
// members and a codec bug shows here too.
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
}

export const calmNetwork: NetworkFaults = {
  delayMsMin: 1,
  delayMsMax: 2,
  loss: 0,
  duplication: 0,
};

const leaseCallMs = 2000;

export class SimNetwork {
  readonly #clock: Clock;
  readonly #prng: Prng;
  faults: NetworkFaults = calmNetwork;
  /** Sees every message that is delivered. */
  observe: (message: Message) => void = () => {};
  readonly #transports = new Map<MemberId, SimTransport>();
  /** "from>to": nothing passes. */
  readonly #cuts = new Set<string>();

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
    this.#cuts.add(`${from}>${to}`);
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
    return this.#cuts.has(`${from}>${to}`);
  }

  /** Its process is gone: the others see their connections reset. */
  reset(member: MemberId): void {
    for (const transport of this.#transports.values()) {
      if (transport.self === member || this.isCut(member, transport.self)) continue;
      this.#later(() => transport.peerReset(member));
    }
  }

  carry(message: Message, from: SimTransport): void {
    if (this.isCut(message.from, message.to) || this.#prng.chance(this.faults.loss)) return;
    const frame = encodeFrame([message]);
    const copies = this.#prng.chance(this.faults.duplication) ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      this.#later(() => {
        const to = this.#transports.get(message.to);
        if (to === undefined || this.isCut(message.from, message.to)) return;
        for (const decoded of decodeFrame(frame)) {
          if (to.deliver(decoded, from)) this.observe(decoded);
        }
      });
    }
  }

  /** There and back; a cut or a loss shows as a timeout. */
  async call<Answer>(
    from: MemberId,
    to: MemberId,
    ask: (leases: LeaseForwarding) => Promise<Answer>,
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#clock.after(leaseCallMs, () => reject(RequestError.of("timeoutDueToConnectionLost")));
      if (this.isCut(from, to)) return;
      this.#later(() => {
        const answering = this.#transports.get(to)?.answer(ask);
        answering?.then(
          (answer) => this.#later(() => void (this.isCut(to, from) || resolve(answer))),
          (error: unknown) => this.#later(() => void (this.isCut(to, from) || reject(error))),
        );
      });
    });
  }

  reachable(from: SimTransport): MemberId[] {
    return [...this.#transports.values()]
      .filter((to) => to !== from && to.isOpen() && !this.isCut(from.self, to.self))
      .map(({ self }) => self);
  }

  #later(run: () => void): void {
    this.#clock.after(this.#prng.between(this.faults.delayMsMin, this.faults.delayMsMax), run);
  }
}

export class SimTransport implements Transport {
  readonly self: MemberId;
  readonly #network: SimNetwork;
  readonly #clock: MemberClock;
  readonly #handshake: Handshake;
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
    const hello = from.#handshake.hello(this.self, Channel.BULK);
    const refusal = this.#handshake.judgeHello(hello);
    if (refusal !== null) return false;
    return from.#handshake.judgeResponse(this.self, this.#handshake.response("")) === null;
  }
}
