// Three real transports on loopback: messages between all of them, refusals, damage, broken
// connections, lease calls. Real sockets and the real clock: every wait is for a condition.
import { afterEach, describe, expect, test, vi } from "vitest";
import { connect, createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { RequestError } from "../../src/base/errors.ts";
import type { ClusterId, MemberId, StoreId } from "../../src/base/ids.ts";
import { silentLogger } from "../../src/base/logger.ts";
import type { LogFields, Logger } from "../../src/base/logger.ts";
import { Prng } from "../../src/base/prng.ts";
import { TcpTransport } from "../../src/peer/tcp-transport.ts";
import type { PeerAddress } from "../../src/peer/tcp-transport.ts";
import { encodeFrame } from "../../src/peer/frame.ts";
import { Handshake, protocolVersion } from "../../src/peer/handshake.ts";
import { frameKind, Link } from "../../src/peer/link.ts";
import { hostOf } from "../../src/peer/peer-host.ts";
import type { PeerHost } from "../../src/peer/peer-host.ts";
import { peerLimits } from "../../src/peer/peer-limits.ts";
import { PeerServer } from "../../src/peer/peer-server.ts";
import { PeerStream } from "../../src/peer/peer-stream.ts";
import type { LeaseForwarding } from "../../src/peer/transport.ts";
import { Channel, Hello, HelloResponse } from "../../src/proto/keelson/peer.ts";
import type { Message } from "../../src/raft/message.ts";
import { realClock } from "../../src/server/real-clock.ts";

interface Member {
  readonly address: PeerAddress;
  readonly transport: TcpTransport;
  readonly received: Message[];
  readonly lost: MemberId[];
}

const ids = ["101", "102", "103"] as MemberId[];
const closing: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const noLeases: LeaseForwarding = {
  renew: () => Promise.reject(RequestError.of("notPrimaryLessor")),
  remaining: () => Promise.reject(RequestError.of("notPrimaryLessor")),
};

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function addresses(): Promise<PeerAddress[]> {
  return Promise.all(
    ids.map(async (id) => ({ id, peerUrls: [`http://127.0.0.1:${await freePort()}`] })),
  );
}

interface Changes {
  readonly cluster?: string;
  readonly store?: string;
  readonly start?: number;
  readonly run?: string;
}

function identity(member: MemberId, changes: Changes) {
  return {
    cluster: (changes.cluster ?? "7") as ClusterId,
    member,
    store: (changes.store ?? `store of ${member}`) as StoreId,
    start: changes.start ?? 1,
    run: changes.run ?? "first",
    electionMs: 1000,
  };
}

async function open(
  address: PeerAddress,
  all: readonly PeerAddress[],
  changes: Changes & { leases?: LeaseForwarding; logger?: Logger } = {},
): Promise<Member> {
  const received: Message[] = [];
  const lost: MemberId[] = [];
  const transport = await TcpTransport.open(
    {
      self: identity(address.id, changes),
      peers: all.filter(({ id }) => id !== address.id),
      replicatedStore: () => null,
      clock: realClock,
      prng: new Prng(Number(address.id)),
      logger: changes.logger ?? silentLogger,
    },
    address.peerUrls,
  );
  closing.push(() => transport.close());
  transport.start(
    {
      receive: (message) => void received.push(message),
      disconnected: (peer) => void lost.push(peer),
    },
    changes.leases ?? noLeases,
  );
  return { address, transport, received, lost };
}

async function openAll(): Promise<[Member, Member, Member]> {
  const all = await addresses();
  const members = await Promise.all(all.map((address) => open(address, all)));
  for (const { transport } of members) await until(() => transport.connected().length === 2);
  return members as [Member, Member, Member];
}

function until(condition: () => boolean): Promise<true> {
  return vi.waitUntil(condition, { timeout: 10_000, interval: 5 });
}

function heartbeat(from: Member, to: Member, round: number): Message {
  const envelope = { from: from.address.id, to: to.address.id, term: 1 };
  return { type: "heartbeat", ...envelope, round, commit: 0 };
}

function append(from: Member, to: Member, data: Uint8Array): Message {
  const envelope = { from: from.address.id, to: to.address.id, term: 1 };
  const entries = [{ term: 1, index: 1, kind: "normal" as const, data }];
  return { type: "append", ...envelope, previous: { term: 0, index: 0 }, entries, commit: 0 };
}

describe("tcp transport", () => {
  test("every member reaches every other on both channels", async () => {
    const members = await openAll();
    for (const from of members) {
      const others = members.filter((member) => member !== from);
      from.transport.send(
        others.flatMap((to) => [heartbeat(from, to, 1), append(from, to, new Uint8Array(10))]),
      );
    }
    for (const { received } of members) await until(() => received.length === 4);
  });

  test("send keeps the order of one channel over thousands of messages", async () => {
    const [a, b] = await openAll();
    for (let turn = 0; turn < 100; turn++) {
      a.transport.send(Array.from({ length: 50 }, (_, i) => heartbeat(a, b, turn * 50 + i)));
    }
    await until(() => b.received.length === 5000);
    const rounds = b.received.map((message) => message.type === "heartbeat" && message.round);
    expect(rounds).toEqual(Array.from({ length: 5000 }, (_, i) => i));
  });

  test("send passes a megabyte of entries", async () => {
    const [a, b] = await openAll();
    const megabyte = new Uint8Array(1 << 20).fill(7);
    a.transport.send([append(a, b, megabyte)]);
    await until(() => b.received.length === 1);
    const [message] = b.received;
    expect(message?.type === "append" && message.entries[0]?.data.length).toBe(1 << 20);
  });

  test("send passes the largest command, behind a frame that is nearly full", async () => {
    const [a, b] = await openAll();
    const before = append(a, b, new Uint8Array(peerLimits.frameBytesTarget - 1000));
    const largest = append(a, b, new Uint8Array(peerLimits.commandBytesMax).fill(7));
    a.transport.send([before, largest]);
    await until(() => b.received.length === 2);
    const message = b.received[1];
    expect(message?.type === "append" && message.entries[0]?.data.length).toBe(
      peerLimits.commandBytesMax,
    );
  }, 20_000);

  test("send drops what nobody is connected for, and says how much", async () => {
    const all = await addresses();
    const lonely = await open(all[0] as PeerAddress, all);
    const nobody = { ...lonely, address: all[1] as PeerAddress };
    lonely.transport.send([heartbeat(lonely, nobody, 1)]);
    expect(lonely.transport.counts().dropped).toBe(1);
    expect(lonely.transport.connected()).toEqual([]);
  });

  test("disconnected is told when a peer goes away, and the peer is dialed again", async () => {
    const [a, b] = await openAll();
    await b.transport.close();
    await until(() => a.lost.includes(b.address.id));
    await until(() => a.transport.connected().length === 1);
    const all = [a.address, b.address];
    const again = await open(b.address, all, { start: 2 });
    await until(() => a.transport.connected().length === 2);
    a.transport.send([heartbeat(a, again, 9)]);
    await until(() => again.received.length === 1);
  });

  test("a member of another cluster is never heard", async () => {
    const all = await addresses();
    const [first, second] = all as [PeerAddress, PeerAddress, PeerAddress];
    const a = await open(first, all);
    const stranger = await open(second, all, { cluster: "8" });
    const at = hostOf(first.peerUrls[0] as string);
    const answer = await hello(at, { clusterId: "8", from: second.id, to: first.id });
    expect(answer.refusal).toMatch(/belongs to cluster 8/);
    expect(a.transport.connected()).toEqual([]);
    expect(stranger.transport.connected()).toEqual([]);
  });

  test("a wiped member is refused in both directions, and the old one still welcome", async () => {
    const [a, b, c] = await openAll();
    await c.transport.close();
    await until(() => a.transport.connected().length === 1);
    const all = [a.address, b.address, c.address];
    const wiped = await open(c.address, all, { store: "fresh" });
    const at = hostOf(a.address.peerUrls[0] as string);
    const from = c.address.id;
    const answer = await hello(at, { from, to: a.address.id, storeId: "fresh" });
    expect(answer.refusal).toMatch(/another data directory/);
    expect(wiped.transport.connected()).toEqual([]);
    await wiped.transport.close();
    await open(c.address, all, { start: 2 });
    await until(() => a.transport.connected().length === 2);
  });

  test("a clone of a running member is refused, told so, and disturbs nobody", async () => {
    const [a, b, c] = await openAll();
    const refusals: unknown[] = [];
    const logger = { ...silentLogger, error: (fields: LogFields) => void refusals.push(fields) };
    const elsewhere = { ...c.address, peerUrls: [`http://127.0.0.1:${await freePort()}`] };
    const all = [a.address, b.address, elsewhere];
    const clone = await open(elsewhere, all, { run: "clone", logger });
    await until(() => refusals.length === 2);
    for (const refusal of refusals) {
      expect(refusal).toMatchObject({ refusal: expect.stringMatching(/member 103 runs twice/) });
    }
    expect(clone.transport.connected()).toEqual([]);
    c.transport.send([heartbeat(c, a, 1)]);
    await until(() => a.received.length === 1);
    expect(a.lost).toEqual([]);
  });

  test("a damaged frame is counted, and ends its connection alone", async () => {
    const [a, b] = await openAll();
    const at = hostOf(a.address.peerUrls[0] as string);
    const frame = encodeFrame([heartbeat(b, a, 1)]);
    frame.writeUInt8(frame.readUInt8(9) ^ 1, 9);
    await hello(at, { from: b.address.id, to: a.address.id, storeId: "store of 102" }, frame);
    await until(() => a.transport.counts().damaged === 1);
    expect(a.received).toEqual([]);
    b.transport.send([heartbeat(b, a, 2)]);
    await until(() => b.transport.connected().length === 2);
  });

  test("a message in another member's name is refused", async () => {
    const [a, b, c] = await openAll();
    const at = hostOf(a.address.peerUrls[0] as string);
    const frame = encodeFrame([heartbeat(c, a, 1)]);
    await hello(at, { from: b.address.id, to: a.address.id, storeId: "store of 102" }, frame);
    await until(() => a.transport.counts().damaged === 1);
    expect(a.received).toEqual([]);
  });

  test("leases carries calls and refusals of the asked member", async () => {
    const all = await addresses();
    const [first, second] = all as [PeerAddress, PeerAddress, PeerAddress];
    const a = await open(first, all);
    await open(second, all, {
      leases: {
        renew: (leases) => Promise.resolve(leases.map((lease) => (lease === "-5" ? 60 : 0))),
        remaining: () => Promise.reject(RequestError.of("notPrimaryLessor")),
      },
    });
    await until(() => a.transport.connected().includes(second.id));
    const leases = a.transport.leases(second.id);
    expect(await leases.renew(["-5"])).toEqual([60]);
    expect(await leases.renew(["9223372036854775807", "-5", "1"])).toEqual([0, 60, 0]);
    const many = Array.from({ length: 4096 }, (_, i) => String(-(2n ** 63n) + BigInt(i)));
    expect(await leases.renew(many)).toEqual(many.map(() => 0));
    await expect(leases.remaining("1")).rejects.toThrow("not a primary lessor");
    await expect(a.transport.leases(ids[2] as MemberId).renew(["1"])).rejects.toThrow(RequestError);
  });

  test("open rejects when the address is taken", async () => {
    const all = await addresses();
    await open(all[0] as PeerAddress, all);
    await expect(open(all[0] as PeerAddress, all)).rejects.toThrow(/cannot listen for peers/);
  });
});

describe("peer server", () => {
  test("a malformed answer to the handshake is a refusal, and the peer is dialed again", async () => {
    let calls = 0;
    const server = createServer((socket) => {
      calls += 1;
      const link = new Link(realClock, socket, {
        frame: () => link.write(frameKind.helloResponse, Uint8Array.of(0xff)),
        closed: () => {},
      });
    });
    closing.push(() => void server.close());
    const port = await new Promise<number>((resolve) => {
      server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port));
    });
    const [own, liar] = await addresses();
    const address = { ...(liar as PeerAddress), peerUrls: [`http://127.0.0.1:${port}`] };
    const errors: LogFields[] = [];
    const logger = { ...silentLogger, error: (fields: LogFields) => void errors.push(fields) };
    const { transport } = await open(own as PeerAddress, [own as PeerAddress, address], { logger });
    await until(() => calls > 2);
    expect(transport.connected()).toEqual([]);
    expect(errors).toEqual([
      { peer: `to ${address.id}`, refusal: expect.stringMatching(/malformed/) as string },
    ]);
  });

  test("tells whoever dials before start() to come again, and a stream to wait", async () => {
    const self = identity(ids[0] as MemberId, {});
    const handshake = new Handshake({
      self,
      peers: ids.slice(1),
      replicatedStore: () => null,
      logger: silentLogger,
    });
    const deps = { handshake, clock: realClock, prng: new Prng(1), logger: silentLogger };
    const server = new PeerServer({ self, accepted: () => {}, ...deps });
    closing.push(() => server.close());
    const port = await server.listen({ host: "127.0.0.1", port: 0 });
    const stream = new PeerStream(deps, {
      peer: ids[0] as MemberId,
      channel: Channel.BULK,
      hosts: [{ host: "127.0.0.1", port }],
    });
    closing.push(() => stream.close());
    stream.start();
    const at = { host: "127.0.0.1", port };
    await expect(hello(at, { from: ids[1] as MemberId, to: self.member })).rejects.toThrow(
      /the member is starting/,
    );
    expect(stream.isLive()).toBe(false);
    expect(peerLimits.reconnectMsMin).toBeLessThan(peerLimits.reconnectMsMax);
  });
});

/** Dials as a member would, and sends `frame` once greeted. */
function hello(at: PeerHost, changes: Partial<Hello>, frame?: Buffer): Promise<HelloResponse> {
  const message = {
    clusterId: "7",
    storeId: "",
    start: 1,
    run: "first",
    channel: Channel.URGENT,
    protocolVersion,
    electionTimeoutMs: 1000,
    ...changes,
  };
  return new Promise((resolve, reject) => {
    const link = new Link(realClock, connect(at), {
      frame: (_kind, payload) => {
        resolve(HelloResponse.decode(payload));
        if (frame !== undefined) link.write(frameKind.messages, frame);
      },
      closed: (cause) => reject(new Error(cause)),
    });
    closing.push(() => link.destroy("the test is over"));
    link.write(frameKind.hello, Hello.encode(Hello.fromPartial(message)).finish());
  });
}
