// Three real processes under load while members die: what was acknowledged is never lost, and the
// survivors go on. How long they take is printed, not asserted: machines differ.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { postJson, ProcessCluster, until } from "./processes.ts";

const base64 = (text: string) => Buffer.from(text).toString("base64");

interface Writer {
  /** Values acknowledged so far, by key. */
  readonly acknowledged: Map<string, string>;
  /** Longest time without an acknowledgement, in milliseconds. */
  longestGapMs(): number;
  stop(): Promise<void>;
}

/** Puts unique keys through all running members but one, one after another, until stopped. */
function startWriter(cluster: ProcessCluster, prefix: string, spared?: string): Writer {
  const acknowledged = new Map<string, string>();
  let running = true;
  let gap = 0;
  let last = performance.now();
  const lanes = Array.from({ length: 8 }, async (_, lane) => {
    for (let count = 0; running; count++) {
      const members = cluster.running().filter(({ name }) => name !== spared);
      const member = members[(lane + count) % members.length];
      if (member === undefined) {
        await new Promise((resolve) => setTimeout(resolve, 5));
        continue;
      }
      const key = `${prefix}/${lane}/${count}`;
      try {
        await postJson(member.client, "/v3/kv/put", { key: base64(key), value: base64(key) });
        acknowledged.set(key, key);
        gap = Math.max(gap, performance.now() - last);
        last = performance.now();
      } catch {
        // The outcome is unknown or refused: nothing was promised. Try the next key.
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
  });
  return {
    acknowledged,
    longestGapMs: () => gap,
    async stop() {
      running = false;
      await Promise.all(lanes);
    },
  };
}

interface KeyValueJson {
  readonly key: string;
  readonly value?: string;
}

/** All keys under a prefix as one member has them, after a read barrier. */
async function readAll(port: number, prefix: string): Promise<Map<string, string>> {
  const end = `${prefix.slice(0, -1)}${String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1)}`;
  const answer = await until(`a range through ${port}`, 30_000, () =>
    postJson(port, "/v3/kv/range", { key: base64(prefix), range_end: base64(end) }),
  );
  const kvs = (answer["kvs"] ?? []) as readonly KeyValueJson[];
  const text = (encoded = "") => Buffer.from(encoded, "base64").toString();
  return new Map(kvs.map((kv) => [text(kv.key), text(kv.value)]));
}

async function expectAllReadable(cluster: ProcessCluster, writer: Writer, prefix: string) {
  for (const { client } of cluster.running()) {
    const stored = await readAll(client, prefix);
    const lost = [...writer.acknowledged].filter(([key, value]) => stored.get(key) !== value);
    expect(lost).toEqual([]);
  }
}

describe("three members", () => {
  let cluster: ProcessCluster;
  beforeAll(async () => {
    cluster = await ProcessCluster.start(3);
  });
  afterAll(async () => {
    await cluster.close();
  });

  test("the leader is killed ten times under load and nothing acknowledged is lost", async () => {
    const gaps: number[] = [];
    for (let round = 0; round < 10; round++) {
      const prefix = `kill${round}`;
      const leader = await cluster.leader();
      const writer = startWriter(cluster, prefix);
      await until("writes before", 20_000, async () => writer.acknowledged.size > 50 || undefined);
      await cluster.kill(leader);
      const before = writer.acknowledged.size;
      await until(
        "writes to go on",
        20_000,
        async () => writer.acknowledged.size > before + 50 || undefined,
      );
      await writer.stop();
      gaps.push(Math.round(writer.longestGapMs()));
      await expectAllReadable(cluster, writer, prefix);
      cluster.spawn(leader);
      await cluster.ready();
      await expectAllReadable(cluster, writer, prefix);
    }
    console.log(`longest pause in writes around each kill of the leader, ms: ${gaps.join(" ")}`);
  }, 300_000);

  test("all members are killed at once and every acknowledged write is there", async () => {
    const writer = startWriter(cluster, "all");
    await until("writes", 20_000, async () => writer.acknowledged.size > 300 || undefined);
    await Promise.all(cluster.members.map(({ name }) => cluster.kill(name)));
    await writer.stop();
    for (const { name } of cluster.members) cluster.spawn(name);
    await cluster.ready();
    await expectAllReadable(cluster, writer, "all");
  }, 120_000);

  test("a member stopped for five seconds catches up and serves no stale read", async () => {
    const stopped = await cluster.leader();
    const writer = startWriter(cluster, "stop", stopped);
    await until("writes", 20_000, async () => writer.acknowledged.size > 50 || undefined);
    cluster.signal(stopped, "SIGSTOP");
    const before = writer.acknowledged.size;
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    await writer.stop();
    // Not only what was under way: the others have elected a leader and go on.
    expect(writer.acknowledged.size).toBeGreaterThan(before + 50);
    console.log(`longest pause in writes, ms: ${Math.round(writer.longestGapMs())}`);
    const survivors = cluster.running().filter(({ name }) => name !== stopped);
    const [survivor] = survivors;
    if (survivor === undefined) throw new Error("nobody survived");
    const put = await postJson(survivor.client, "/v3/kv/put", {
      key: base64("marker"),
      value: base64("new"),
    });
    expect(put["header"]).toBeDefined();
    cluster.signal(stopped, "SIGCONT");
    const marker = await until("a linearizable read through the woken member", 20_000, () =>
      postJson(cluster.member(stopped).client, "/v3/kv/range", { key: base64("marker") }),
    );
    expect(marker["kvs"]).toEqual([expect.objectContaining({ value: base64("new") })]);
    await cluster.ready();
    await expectAllReadable(cluster, writer, "stop");
  }, 120_000);
});
