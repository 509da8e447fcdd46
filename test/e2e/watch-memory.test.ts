// A thousand watchers that never read cost a member less than 64 MB, whatever passes them.
//
// The member is a process of its own. It first takes puts until its caches are full (the tail of
// the log, LevelDB's blocks and buffers, V8's and malloc's spare pages: fixed sizes that writing
// fills with or without watchers). Then 1,000 watchers come, each on a stream of its own with a
// window of 64 KB that it never reads, and every event goes to each of them. Resident memory is
// that of /proc after the last put, against the moment before the watchers came.
//
// Here 32 MB are put, which is 32 GB that nobody reads. `npm run proof:watch-memory` puts 1 GB
// without the watchers, and then 1 GB with them.
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PutRequest } from "../../src/proto/etcdserverpb/kv.ts";
import { WatchRequest } from "../../src/proto/etcdserverpb/watch.ts";
import { RawClient, frameOf } from "../grpc/raw-client.ts";
import type { RawCall } from "../grpc/raw-client.ts";
import { ProcessCluster, until } from "./processes.ts";

const mebibyte = 1024 * 1024;
const isProof = process.env["KEELSON_PROOF"] === "1";
const valueBytes = 65_536;
const putCount = isProof ? 16_384 : 512;
const warmUpCount = Math.max(putCount, 2_500);
const connectionCount = 10;
const watchersPerConnection = 100;
const isLinux = process.platform === "linux";

let cluster: ProcessCluster;
const clients: RawClient[] = [];

beforeAll(async () => {
  cluster = await ProcessCluster.start(1);
});

afterAll(async () => {
  await Promise.all(clients.map((client) => client.close()));
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

/** Puts `count` values under one key, a few at a time. */
async function putAll(client: RawClient, key: string, count: number): Promise<void> {
  const value = Buffer.alloc(valueBytes, key);
  const request = PutRequest.encode(PutRequest.fromPartial({ key: Buffer.from(key), value }));
  const message = request.finish();
  let left = count;
  const lane = async () => {
    while (left-- > 0) {
      expect((await client.unary("/etcdserverpb.KV/Put", message)).status).toBe(0);
    }
  };
  await Promise.all(Array.from({ length: 8 }, lane));
}

function watchUnread(client: RawClient, key: string): RawCall {
  const create = { key: Buffer.from(key) };
  const request = WatchRequest.fromPartial({
    requestUnion: { $case: "createRequest", value: create },
  });
  const call = client.open("/etcdserverpb.Watch/Watch").pause();
  return call.send(frameOf(WatchRequest.encode(request).finish()));
}

test.runIf(isLinux)(
  "a thousand watchers that never read cost less than 64 MB",
  async () => {
    const writer = await connect();
    await putAll(writer, "warm", warmUpCount);
    const before = residentBytes();

    const calls: RawCall[] = [];
    let answered = 0;
    for (let i = 0; i < connectionCount; i++) {
      const client = await connect();
      // So that no watcher is silent only because another one of its connection is.
      client.session.setLocalWindowSize(64 * mebibyte);
      for (let k = 0; k < watchersPerConnection; k++) {
        const call = watchUnread(client, "k");
        call.stream.once("response", () => answered++);
        calls.push(call);
      }
    }
    await until("all watchers", 30_000, async () => answered === calls.length || undefined);

    await putAll(writer, "k", putCount);
    const grownBytes = residentBytes() - before;
    process.stderr.write(
      `watch memory: ${calls.length} unread watchers, ${putCount} events of ${valueBytes} bytes: ` +
        `resident memory grew by ${(grownBytes / mebibyte).toFixed(1)} MB\n`,
    );
    expect(calls.filter(({ stream }) => stream.closed)).toEqual([]);
    expect(grownBytes).toBeLessThan(64 * 1_000_000);

    // They were all owed everything: one that begins to read gets it.
    const [late] = calls;
    late?.stream.resume();
    await until("what one of them missed", 120_000, async () =>
      (late?.receivedBytes ?? 0) >= putCount * valueBytes ? true : undefined,
    );
  },
  isProof ? 1_800_000 : 120_000,
);
