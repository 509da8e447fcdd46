import { beforeEach, describe, expect, test } from "vitest";
import { admitted } from "../../src/api/admission.ts";
import type { Method, StreamMethod } from "../../src/api/method.ts";
import { RequestError } from "../../src/base/errors.ts";
import type { ErrorCode } from "../../src/base/errors.ts";
import { callBytes, callStream, contextOf, startOneMember } from "./one-member.ts";
import type { OneMemberCluster } from "./one-member.ts";

let cluster: OneMemberCluster;
/** Of the endless stream: its context's signal, once it runs. */
let signal: AbortSignal | null;

const endless: StreamMethod = {
  kind: "stream",
  handle(_requests, _sink, context) {
    ({ signal } = context);
    return new Promise(() => {});
  },
};
const echo: Method = { kind: "unary", handle: (request) => Promise.resolve(request) };

beforeEach(async () => {
  const { node } = await startOneMember();
  const admit = (method: Method): Method =>
    admitted({ node, clock: node.clock }, method, { electionMs: 1000 });
  const methods = new Map([
    ["/echo", admit(echo)],
    ["/endless", admit(endless)],
  ]);
  cluster = { node, methods };
  signal = null;
});

async function expectRefusal(answer: Promise<unknown>, code: ErrorCode): Promise<void> {
  await expect(answer).rejects.toEqual(RequestError.of(code));
}

const someBytes = Uint8Array.of(1);
const needsLeader = contextOf({ hasleader: "true" });

describe("admitted", () => {
  test("admitted calls go on to their method", async () => {
    expect(await callBytes(cluster, "/echo", someBytes, needsLeader)).toBe(someBytes);
    cluster.node.leader = null;
    expect(await callBytes(cluster, "/echo", someBytes)).toBe(someBytes);
    const other = contextOf({ hasleader: "false" });
    expect(await callBytes(cluster, "/echo", someBytes, other)).toBe(someBytes);
  });

  test("admitted refuses a call that needs a leader when none is known", async () => {
    cluster.node.leader = null;
    await expectRefusal(callBytes(cluster, "/echo", someBytes, needsLeader), "noLeader");
    await expectRefusal(callStream(cluster, "/endless", [], needsLeader), "noLeader");
  });

  test("admitted refuses an API version that is no text", async () => {
    const good = contextOf({ "client-api-version": "3.7" });
    expect(await callBytes(cluster, "/echo", someBytes, good)).toBe(someBytes);
    const utf8 = contextOf({ "client-api-version": Buffer.from("3.7é").toString("latin1") });
    expect(await callBytes(cluster, "/echo", someBytes, utf8)).toBe(someBytes);
    const bad = contextOf({ "client-api-version": "3.7\xff" });
    await expectRefusal(callBytes(cluster, "/echo", someBytes, bad), "invalidClientAPIVersion");
  });

  test("admitted cuts a stream after three election timeouts without a leader", async () => {
    const { node } = cluster;
    const { clock } = node;
    const ended = callStream(cluster, "/endless", [], needsLeader);
    const refused = expectRefusal(ended, "noLeader");
    clock.advance(5000);
    const { leader } = node;
    node.leader = null;
    clock.advance(2000);
    node.leader = leader;
    clock.advance(1000);
    node.leader = null;
    clock.advance(2000);
    expect(signal?.aborted).toBe(false);
    clock.advance(1000);
    expect(signal?.aborted).toBe(true);
    await refused;
    expect(clock.timerCount()).toBe(0);
  });

  test("admitted streams that ask for no leader are left alone", async () => {
    cluster.node.leader = null;
    const methods = new Map([
      [
        "/short",
        admitted(
          { node: cluster.node, clock: cluster.node.clock },
          { kind: "stream", handle: () => Promise.resolve() },
          { electionMs: 1000 },
        ),
      ],
    ]);
    expect(await callStream({ ...cluster, methods }, "/short", [])).toEqual([]);
    cluster.node.leader = cluster.node.status().memberId;
    expect(await callStream({ ...cluster, methods }, "/short", [], needsLeader)).toEqual([]);
    expect(cluster.node.clock.timerCount()).toBe(0);
  });
});
