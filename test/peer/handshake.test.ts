// The handshake: who may talk, who may not, and that each refusal is said once.
import { beforeEach, describe, expect, test } from "vitest";
import type { ClusterId, MemberId, StoreId } from "../../src/base/ids.ts";
import type { LogFields } from "../../src/base/logger.ts";
import { silentLogger } from "../../src/base/logger.ts";
import { Handshake, protocolVersion } from "../../src/peer/handshake.ts";
import { Channel } from "../../src/proto/keelson/peer.ts";
import type { Hello } from "../../src/proto/keelson/peer.ts";

const own = "10" as MemberId;
const peer = "20" as MemberId;
const replicated = new Map<MemberId, StoreId>();
let errors: LogFields[];
let handshake: Handshake;

function helloWith(changes: Partial<Hello>): Hello {
  return {
    clusterId: "1",
    from: peer,
    to: own,
    storeId: "aa",
    start: 3,
    run: "first",
    channel: Channel.BULK,
    protocolVersion,
    electionTimeoutMs: 1000,
    ...changes,
  };
}

beforeEach(() => {
  errors = [];
  replicated.clear();
  handshake = new Handshake({
    self: {
      cluster: "1" as ClusterId,
      member: own,
      store: "bb" as StoreId,
      start: 5,
      run: "own",
      electionMs: 1000,
    },
    peers: [peer],
    replicatedStore: (member) => replicated.get(member) ?? null,
    logger: { ...silentLogger, error: (fields) => void errors.push(fields) },
  });
});

describe("handshake", () => {
  test("judgeHello takes a member that the cluster knows, again and after a later start", () => {
    expect(handshake.judgeHello(helloWith({}))).toBeNull();
    expect(handshake.judgeHello(helloWith({}))).toBeNull();
    expect(handshake.judgeHello(helloWith({ start: 4 }))).toBeNull();
  });

  test.each([
    ["another cluster", { clusterId: "2" }, /belongs to cluster 2.*--initial-cluster-token/],
    ["another target", { to: "11" }, /this is member 10, not 11/],
    ["a stranger", { from: "30" }, /member 30 is not in this cluster/],
    ["another protocol", { protocolVersion: 9 }, /speaks peer protocol 9/],
  ])("judgeHello refuses %s", (_, changes, words) => {
    expect(handshake.judgeHello(helloWith(changes))).toMatch(words);
  });

  test("judgeHello refuses a voter whose store id is not the replicated one", () => {
    replicated.set(peer, "aa" as StoreId);
    expect(handshake.judgeHello(helloWith({ storeId: "cc" }))).toMatch(
      /another data directory \(store id cc\) than the cluster knows \(aa\)/,
    );
    expect(handshake.judgeHello(helloWith({}))).toBeNull();
  });

  test("judgeHello refuses a second store id even before one is replicated", () => {
    expect(handshake.judgeHello(helloWith({}))).toBeNull();
    expect(handshake.judgeHello(helloWith({ storeId: "cc" }))).toMatch(/another data directory/);
  });

  test("judgeHello refuses a start counter lower than one it has seen", () => {
    expect(handshake.judgeHello(helloWith({ start: 9 }))).toBeNull();
    expect(handshake.judgeHello(helloWith({ start: 8 }))).toMatch(/old copy of its data directory/);
    expect(handshake.judgeHello(helloWith({ start: 9 }))).toBeNull();
  });

  test("judgeHello refuses a second run of one start, whichever came first, until a later start", () => {
    expect(handshake.judgeHello(helloWith({ run: "first" }))).toBeNull();
    expect(handshake.judgeHello(helloWith({ run: "clone" }))).toMatch(
      /member 20 runs twice: start 3 was seen as run first, and comes as run clone; stop this one/,
    );
    expect(errors).toHaveLength(1);
    expect(handshake.judgeHello(helloWith({ run: "first" }))).toBeNull();
    expect(handshake.judgeHello(helloWith({ start: 4, run: "again" }))).toBeNull();
    expect(handshake.judgeHello(helloWith({ run: "clone" }))).toMatch(/old copy/);
  });

  test("judgeResponse holds the dialed member to the same rules", () => {
    replicated.set(peer, "aa" as StoreId);
    const answer = { refusal: "", storeId: "aa", start: 1, run: "first" };
    expect(handshake.judgeResponse(peer, answer)).toBeNull();
    expect(handshake.judgeResponse(peer, { ...answer, storeId: "cc" })).toMatch(/data directory/);
    expect(handshake.judgeResponse(peer, { ...answer, run: "second" })).toMatch(/runs twice/);
    expect(handshake.judgeResponse(peer, { ...answer, refusal: "no" })).toBe("no");
  });

  test("a refusal is logged once, and again when its reason changes or after it was lifted", () => {
    const wrongCluster = helloWith({ clusterId: "2" });
    handshake.judgeHello(wrongCluster);
    handshake.judgeHello(wrongCluster);
    expect(errors).toHaveLength(1);
    handshake.judgeHello(helloWith({ protocolVersion: 9 }));
    expect(errors).toHaveLength(2);
    handshake.judgeHello(helloWith({}));
    handshake.judgeHello(wrongCluster);
    expect(errors).toHaveLength(3);
  });

  test("hello and response say who this member is", () => {
    expect(handshake.hello(peer, Channel.URGENT)).toMatchObject({ from: own, to: peer, start: 5 });
    expect(handshake.response("")).toEqual({ refusal: "", storeId: "bb", start: 5, run: "own" });
  });
});
