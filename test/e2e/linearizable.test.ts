// Histories of real processes: clients of every member read, write and compare on a few keys while
// members are killed and stopped; the checkers then judge what each was told, against the log as a
// watch of all keys tells it.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Prng } from "../../src/base/prng.ts";
import {
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  TxnRequest,
} from "../../src/proto/etcdserverpb/kv.ts";
import { WatchRequest } from "../../src/proto/etcdserverpb/watch.ts";
import type { RevisionEvents } from "../../src/state/outcome.ts";
import { checkByRevision } from "../history/by-revision.ts";
import {
  Recorder,
  refusalOf,
  type Answer,
  type Call,
  type Operation,
} from "../history/operation.ts";
import { checkLinearizable } from "../history/search.ts";
import { MemberClient } from "./grpc-client.ts";
import { ProcessCluster, until } from "./processes.ts";

const seed = 20_261_120;
const keyCount = 4;
const clientsPerMember = 2;

const bytes = (text: string) => new TextEncoder().encode(text);

function randomCall(prng: Prng, value: string): Call {
  const key = bytes(`key${prng.below(keyCount)}`);
  switch (prng.below(5)) {
    case 0:
    case 1:
      return { type: "put", request: PutRequest.fromPartial({ key, value: bytes(value) }) };
    case 2:
      return { type: "range", request: RangeRequest.fromPartial({ key }) };
    case 3:
      return {
        type: "txn",
        request: TxnRequest.fromPartial({
          compare: [{ key, targetUnion: { $case: "version", value: prng.below(3) }, target: 0 }],
          success: [{ request: { $case: "requestPut", value: { key, value: bytes(value) } } }],
          failure: [{ request: { $case: "requestRange", value: { key } } }],
        }),
      };
    default:
      return prng.chance(0.3)
        ? { type: "deleteRange", request: DeleteRangeRequest.fromPartial({ key }) }
        : {
            type: "range",
            request: RangeRequest.fromPartial({ key: bytes("key"), rangeEnd: bytes("kez") }),
          };
  }
}

function send(client: MemberClient, call: Call): Promise<Answer> {
  switch (call.type) {
    case "range":
      return client.range(call.request);
    case "put":
      return client.put(call.request);
    case "deleteRange":
      return client.deleteRange(call.request);
    case "txn":
      return client.txn(call.request);
    case "compaction":
    case "leaseGrant":
    case "leaseRevoke":
    case "leaseExpire":
      throw new Error(`no client here asks for ${call.type}`);
  }
}

/**
 * The first `count` operations, and what else was called before the last of them returned: of those
 * nothing is claimed but that they may have had their effect.
 */
function firstOperations(operations: readonly Operation[], count: number): Operation[] {
  const judged = operations.slice(0, count);
  const end = Math.max(...judged.map(({ returned }) => (returned === Infinity ? 0 : returned)));
  const beside = operations
    .slice(count)
    .filter(({ called }) => called < end)
    .map((operation): Operation => ({
      ...operation,
      outcome: { type: "unknown" },
      returned: Infinity,
    }));
  return [...judged, ...beside];
}

/** Every revision from 2 to `last`, by a watch from the first. */
async function committedLog(client: MemberClient, last: number): Promise<RevisionEvents[]> {
  const log = new Map<number, RevisionEvents["events"][number][]>();
  const stream = client.watch();
  const zero = new Uint8Array([0]);
  const create = WatchRequest.fromPartial({
    requestUnion: {
      $case: "createRequest",
      value: { key: zero, rangeEnd: zero, startRevision: 1 },
    },
  });
  await new Promise<void>((resolve, reject) => {
    stream.on("error", reject);
    stream.on("data", ({ events }) => {
      for (const event of events) {
        const revision = event.kv?.modRevision ?? 0;
        const together = log.get(revision) ?? [];
        log.set(revision, [...together, event]);
      }
      if (log.has(last)) resolve();
    });
    stream.write(create);
  });
  stream.removeAllListeners("error");
  stream.on("error", () => undefined);
  stream.cancel();
  return [...log]
    .sort(([left], [right]) => left - right)
    .map(([revision, events]) => ({ revision, events }));
}

describe("histories of three real members", () => {
  let cluster: ProcessCluster;
  beforeAll(async () => {
    cluster = await ProcessCluster.start(3);
  });
  afterAll(async () => {
    await cluster.close();
  });

  test("are linearizable while the leader is killed and a member is stopped", async () => {
    const recorder = new Recorder();
    let running = true;
    const clients = cluster.members.flatMap(({ client }, m) =>
      Array.from({ length: clientsPerMember }, (_, c) => ({
        name: `client ${m}.${c}`,
        member: new MemberClient(client),
        prng: new Prng(seed, m * clientsPerMember + c),
      })),
    );
    const loops = clients.map(async ({ name, member, prng }) => {
      for (let i = 0; running; i++) {
        const call = randomCall(prng, `${name} ${i}`);
        const open = recorder.begin(name, call);
        try {
          open.ok(await send(member, call));
        } catch (error) {
          const code = refusalOf(error);
          if (code === null) open.unknown();
          else open.refused(code);
          // Nobody answers for a while: a pause keeps the unknown ones few.
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
      }
    });
    const atLeast = (count: number) =>
      until(`${count} operations`, 30_000, async () =>
        recorder.operations().length >= count ? true : undefined,
      );
    await atLeast(200);
    const killed = await cluster.leader();
    await cluster.kill(killed);
    await atLeast(recorder.operations().length + 600);
    cluster.spawn(killed);
    await cluster.ready();
    const stopped = await cluster.leader();
    cluster.signal(stopped, "SIGSTOP");
    await atLeast(recorder.operations().length + 600);
    cluster.signal(stopped, "SIGCONT");
    await atLeast(recorder.operations().length + 600);
    running = false;
    await Promise.all(loops);

    const [first] = clients;
    if (first === undefined) throw new Error("no clients");
    const header = await until("a last read", 20_000, async () => {
      const answer = await first.member.range(RangeRequest.fromPartial({ key: bytes("key") }));
      return answer.header;
    });
    const log = await committedLog(first.member, header.revision);
    for (const { member } of clients) member.close();
    const operations = recorder.operations();
    expect(checkByRevision({ operations, log })).toEqual([]);
    // The search knows nothing of revisions' meaning: the black box beside the guided check.
    const sample = firstOperations(operations, 150);
    const { verdict } = checkLinearizable({ operations: sample }, { statesMax: 200_000 });
    expect(verdict).toBe("linearizable");
    console.log(`${operations.length} operations, ${log.length} revisions, search: ${verdict}`);
  }, 180_000);
});
