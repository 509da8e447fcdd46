// A thousand watchers that never read cost a member less than 64 MB, whatever passes them.
//
// The member is a process of its own, that has served some puts (`warmUp`: what any member in use
// has, caches begun and code compiled; 64 MB of values at most). Then 1,000 watchers come, each on
// a stream of its own with a window of 64 KB that it never reads, and every event goes to each of
// them. Growth is that of resident memory (RssAnon of /proc), from before the watchers came to the
// highest that is seen while events pass.
//
// Here 32 MB are put, which is 32 GB that nobody reads. `npm run proof:watch-memory` puts 1 GB, or
// 100,000 values if they are small.
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, expect, test } from "vitest";
import { PutRequest } from "../../src/proto/etcdserverpb/kv.ts";
import { WatchRequest } from "../../src/proto/etcdserverpb/watch.ts";
import { RawClient, frameOf } from "../grpc/raw-client.ts";
import type { RawCall } from "../grpc/raw-client.ts";
import { ProcessCluster, until } from "./processes.ts";

const mebibyte = 1024 * 1024;
const isProof = process.env["KEELSON_PROOF"] === "1";
const volumeBytes = isProof ? 1024 * mebibyte : 32 * mebibyte;
const warmUpBytes = 64 * mebibyte;
const putCountMax = 100_000;
const warmUpCountMax = 5_000;
const valueSizes = isProof ? [1024, 65_536] : [65_536];
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

/** Puts `count` values under one key, a few at a time. The most resident bytes seen meanwhile. */
async function putAll(client: RawClient, put: { key: string; count: number; valueBytes: number }) {
  const key = Buffer.from(put.key);
  const value = Buffer.alloc(put.valueBytes, key);
  const message = PutRequest.encode(PutRequest.fromPartial({ key, value })).finish();
  let left = put.count;
  let mostBytes = 0;
  const lane = async () => {
    while (left-- > 0) {
      expect((await client.unary("/etcdserverpb.KV/Put", message)).status).toBe(0);
      if (left % 16 === 0) mostBytes = Math.max(mostBytes, residentBytes());
    }
  };
  await Promise.all(Array.from({ length: 8 }, lane));
  return Math.max(mostBytes, residentBytes());
}

function watchUnread(client: RawClient, key: string): RawCall {
  const create = { key: Buffer.from(key) };
  const request = WatchRequest.fromPartial({
    requestUnion: { $case: "createRequest", value: create },
  });
  const call = client.open("/etcdserverpb.Watch/Watch").pause();
  return call.send(frameOf(WatchRequest.encode(request).finish()));
}

test.runIf(isLinux).each(valueSizes)(
  "a thousand watchers that never read cost less than 64 MB, values of %i bytes",
  async (valueBytes) => {
    const countOf = (bytes: number, max: number) => Math.min(Math.ceil(bytes / valueBytes), max);
    const count = countOf(volumeBytes, putCountMax);
    const writer = await connect();
    const warmUp = countOf(warmUpBytes, warmUpCountMax);
    await putAll(writer, { key: "warm", count: warmUp, valueBytes });
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

    const most = await putAll(writer, { key: "k", count, valueBytes });
    const grownBytes = most - before;
    process.stderr.write(
      `watch memory: ${calls.length} unread watchers, ${count} events of ${valueBytes} bytes: ` +
        `resident memory grew from ${(before / 1e6).toFixed(0)} MB by ${(grownBytes / 1e6).toFixed(1)} MB\n`,
    );
    expect(calls.filter(({ stream }) => stream.closed)).toEqual([]);
    expect(grownBytes).toBeLessThan(64 * 1_000_000);

    // They were all owed everything: one that begins to read gets it.
    const [late] = calls;
    late?.stream.resume();
    await until("what one of them missed", 120_000, async () =>
      (late?.receivedBytes ?? 0) >= count * valueBytes ? true : undefined,
    );
  },
  isProof ? 1_800_000 : 120_000,
);
