// A thousand watchers that never read cost a member less than 64 MB, whatever passes them.
//
// The member is a process of its own, and in use (`warmUp...`): it has served 10,000 small puts, so
// that code is compiled and the young generation has its size, and a quarter of what is to come in
// values of the same size, so that the log's tail, LevelDB's tables and the buffers on the way are
// there, and malloc has met their sizes. Then 1,000 watchers come, each on a stream of its own with
// a window of 64 KB that it never reads, and every event goes to each of them. Growth is that of
// resident memory (RssAnon of /proc), from its level before the watchers came to the highest that
// is seen while events pass: it includes what the puts alone cost, such as the index of the
// changes, none of which is compacted.
//
// `npm run proof:watch-memory` puts 1 GB of each size, after 250 MB; here it is 32 MB after 64 MB,
// which is 32 GB that nobody reads. Small values go in transactions of 16 KB, so that it ends in
// minutes.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, expect, test } from "vitest";
import { PutRequest, TxnRequest } from "../../src/proto/etcdserverpb/kv.ts";
import { WatchRequest } from "../../src/proto/etcdserverpb/watch.ts";
import { RawClient, frameOf } from "../grpc/raw-client.ts";
import type { RawCall } from "../grpc/raw-client.ts";
import { ProcessCluster, until } from "./processes.ts";

const isProof = process.env["KEELSON_PROOF"] === "1";
const volumeBytes = isProof ? 1_000_000_000 : 32_000_000;
const warmUpBytes = isProof ? 250_000_000 : 64_000_000;
const warmUpPuts = 10_000;
const grownBytesMax = 64_000_000;
const connectionCount = 10;
const watchersPerConnection = 100;
const isLinux = process.platform === "linux";

let cluster: ProcessCluster;
let clients: RawClient[] = [];

beforeEach(async () => {
  cluster = await ProcessCluster.start(1);
});

afterEach(async () => {
  await Promise.all(clients.map((client) => client.close()));
  clients = [];
  await cluster.close();
});

async function connect(): Promise<RawClient> {
  const client = await RawClient.connect(cluster.member("m0").client);
  clients.push(client);
  return client;
}

function residentBytes(): number {
  const text = readFileSync(`/proc/${cluster.pid("m0")}/status`, "utf8");
  return Number(/^RssAnon:\s+(\d+) kB/m.exec(text)?.[1]) * 1024;
}

interface Load {
  /** Put in one transaction: that many keys with this beginning. */
  readonly perTxn: number;
  readonly prefix: string;
  readonly valueBytes: number;
}

/** Random bytes, which LevelDB does not make smaller. */
function txnOf({ perTxn, prefix, valueBytes }: Load): Uint8Array {
  const success = Array.from({ length: perTxn }, (_, i) => {
    const key = Buffer.from(`${prefix}${i}`);
    const value = PutRequest.fromPartial({ key, value: randomBytes(valueBytes) });
    return { request: { $case: "requestPut" as const, value } };
  });
  return TxnRequest.encode(TxnRequest.fromPartial({ success })).finish();
}

/** Commits `count` transactions, `lanes` at a time. Resident bytes meanwhile: the most, and the
 * median of the second half, for collections move it by tens of megabytes. */
async function putAll(client: RawClient, load: Load, count: number, lanes: number) {
  const messages = Array.from({ length: 16 }, () => txnOf(load));
  const samples: number[] = [];
  const sampler = setInterval(() => samples.push(residentBytes()), 10);
  let left = count;
  const lane = async () => {
    while (left-- > 0) {
      const answer = await client.unary("/etcdserverpb.KV/Txn", messages[left % 16] as Uint8Array);
      expect(answer.status).toBe(0);
    }
  };
  try {
    await Promise.all(Array.from({ length: lanes }, lane));
  } finally {
    clearInterval(sampler);
  }
  samples.push(residentBytes());
  const late = samples.slice(Math.floor(samples.length / 2)).toSorted((a, b) => a - b);
  return { most: Math.max(...samples), level: late[Math.floor(late.length / 2)] as number };
}

function watchUnread(client: RawClient): RawCall {
  const create = { key: Buffer.from("k"), rangeEnd: Buffer.from("l") };
  const request = WatchRequest.fromPartial({
    requestUnion: { $case: "createRequest", value: create },
  });
  const call = client.open("/etcdserverpb.Watch/Watch").pause();
  return call.send(frameOf(WatchRequest.encode(request).finish()));
}

async function watchAllUnread(): Promise<RawCall[]> {
  const calls: RawCall[] = [];
  let answered = 0;
  for (let i = 0; i < connectionCount; i++) {
    const client = await connect();
    // So that no watcher is silent only because another one of its connection is.
    client.session.setLocalWindowSize(64 * 1024 * 1024);
    for (let k = 0; k < watchersPerConnection; k++) {
      const call = watchUnread(client);
      call.stream.once("response", () => answered++);
      calls.push(call);
    }
  }
  await until("all watchers", 30_000, async () => answered === calls.length || undefined);
  return calls;
}

const megabytes = (bytes: number) => (bytes / 1e6).toFixed(0);

test.runIf(isLinux).each([256, 1024, 65_536, 1_048_576])(
  "a thousand watchers that never read cost less than 64 MB, values of %i bytes",
  async (valueBytes) => {
    const perTxn = Math.max(1, Math.floor(16_384 / valueBytes));
    const txnCount = (bytes: number) => Math.ceil(bytes / valueBytes / perTxn);
    const writer = await connect();
    await putAll(writer, { prefix: "warm", perTxn: 1, valueBytes: 64 }, warmUpPuts, 64);
    const warmUp = { prefix: "warm", perTxn, valueBytes };
    const { level: before } = await putAll(writer, warmUp, txnCount(warmUpBytes), 8);

    const calls = await watchAllUnread();
    const count = txnCount(volumeBytes);
    const { most } = await putAll(writer, { prefix: "k", perTxn, valueBytes }, count, 8);
    const grownBytes = most - before;
    process.stderr.write(
      `watch memory: ${calls.length} unread watchers, ${count * perTxn} events of ${valueBytes} ` +
        `bytes: resident memory grew from ${megabytes(before)} MB by ${megabytes(grownBytes)} MB\n`,
    );
    expect(calls.filter(({ stream }) => stream.closed)).toEqual([]);
    expect(grownBytes).toBeLessThan(grownBytesMax);

    // They were all owed everything: one that begins to read gets it.
    const [late] = calls;
    late?.stream.resume();
    await until("what one of them missed", 240_000, async () =>
      (late?.receivedBytes ?? 0) >= count * perTxn * valueBytes ? true : undefined,
    );
  },
  isProof ? 1_800_000 : 120_000,
);
