// The npm client `etcd3` (grpc-js underneath, made by others) against three real members: reads,
// writes, transactions, leases, watches, and its lock and election recipes.
import { Etcd3, type Watcher } from "etcd3";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { ProcessCluster, until } from "./processes.ts";

interface WatchedEvent {
  readonly kind: "put" | "delete";
  readonly key: string;
  readonly value: string;
}

function collect(watcher: Watcher): WatchedEvent[] {
  const events: WatchedEvent[] = [];
  watcher.on("put", (kv) => {
    events.push({ kind: "put", key: kv.key.toString(), value: kv.value.toString() });
  });
  watcher.on("delete", (kv) => {
    events.push({ kind: "delete", key: kv.key.toString(), value: "" });
  });
  return events;
}

describe("etcd3 from npm", () => {
  let cluster: ProcessCluster;
  let client: Etcd3;
  beforeAll(async () => {
    cluster = await ProcessCluster.start(3);
    client = new Etcd3({ hosts: cluster.endpoints().map((host) => `http://${host}`) });
  });
  afterAll(async () => {
    client.close();
    await cluster.close();
  });
  beforeEach(async () => {
    await client.delete().all();
  });

  test("put, get, getAll with options and delete through every member", async () => {
    for (const [i, host] of cluster.endpoints().entries()) {
      const one = new Etcd3({ hosts: `http://${host}` });
      await one.put(`key${i}`).value(`value${i}`);
      expect(await one.get(`key${i}`).string()).toBe(`value${i}`);
      one.close();
    }
    expect(await client.getAll().prefix("key").strings()).toEqual({
      key0: "value0",
      key1: "value1",
      key2: "value2",
    });
    expect(await client.getAll().prefix("key").sort("Key", "Descend").limit(1).keys()).toEqual([
      "key2",
    ]);
    expect(await client.getAll().prefix("key").count()).toBe(3);
    const deleted = await client.delete().prefix("key");
    expect(deleted.deleted).toBe("3");
    expect(await client.get("key0").string()).toBeNull();
  });

  test("transactions compare and choose their branch", async () => {
    await client.put("balance").value("1");
    const attempt = async () =>
      client
        .if("balance", "Value", "==", "1")
        .then(client.put("balance").value("2"))
        .else(client.get("balance"))
        .commit();
    expect((await attempt()).succeeded).toBe(true);
    expect((await attempt()).succeeded).toBe(false);
    expect(await client.get("balance").string()).toBe("2");
  });

  test("a lease takes its keys with it when it is revoked, and when nobody renews it", async () => {
    const revoked = client.lease(30);
    await revoked.put("revoked").value("x");
    expect(await client.get("revoked").string()).toBe("x");
    await revoked.revoke();
    expect(await client.get("revoked").string()).toBeNull();

    const dying = client.lease(2, { autoKeepAlive: false });
    await dying.put("dying").value("x");
    await until("the lease to expire", 20_000, async () =>
      (await client.get("dying").string()) === null ? true : undefined,
    );
  });

  test("a watch sees every event in order and goes on from a revision", async () => {
    const watcher = await client.watch().prefix("seen/").create();
    const events = collect(watcher);
    for (let i = 0; i < 20; i++) await client.put(`seen/${i}`).value(`${i}`);
    await client.delete().key("seen/3");
    await until("21 events", 20_000, async () => (events.length >= 21 ? true : undefined));
    expect(events.map(({ key }) => key)).toEqual([
      ...Array.from({ length: 20 }, (_, i) => `seen/${i}`),
      "seen/3",
    ]);
    expect(events.at(-1)?.kind).toBe("delete");
    await watcher.cancel();

    const before = await client.put("seen/from").value("1");
    await client.put("seen/from").value("2");
    const later = await client
      .watch()
      .key("seen/from")
      .startRevision(before.header.revision)
      .create();
    const replayed = collect(later);
    await until("2 events", 20_000, async () => (replayed.length >= 2 ? true : undefined));
    expect(replayed.map(({ value }) => value)).toEqual(["1", "2"]);
    await later.cancel();
  });

  test("a watch survives the death of the member that serves it", async () => {
    const watcher = await client.watch().prefix("alive/").create();
    const events = collect(watcher);
    const leader = await cluster.leader();
    await client.put("alive/before").value("1");
    await cluster.kill(leader);
    await until("a put after the kill", 20_000, async () => {
      await client.put("alive/after").value("2");
      return true;
    });
    await until("both events", 20_000, async () =>
      events.some(({ key }) => key === "alive/after") ? true : undefined,
    );
    expect(events[0]?.key).toBe("alive/before");
    await watcher.cancel();
    cluster.spawn(leader);
    await cluster.ready();
  });

  test("the lock recipe lets one holder in at a time", async () => {
    let inside = 0;
    let most = 0;
    const enter = async () => {
      const lock = client.lock("mutex").ttl(5);
      await until("the lock", 20_000, async () => {
        await lock.acquire();
        return true;
      });
      inside++;
      most = Math.max(most, inside);
      await client.get("mutex").string();
      inside--;
      await lock.release();
    };
    await Promise.all([enter(), enter(), enter()]);
    expect(most).toBe(1);
  });

  test("the election recipe elects one candidate, then the next when it resigns", async () => {
    const election = client.election("boss", 5);
    const first = election.campaign("first");
    await new Promise<void>((resolve, reject) => {
      first.on("elected", resolve);
      first.on("error", reject);
    });
    expect(await election.leader()).toBe("first");
    const second = client.election("boss", 5).campaign("second");
    const elected = new Promise<void>((resolve, reject) => {
      second.on("elected", resolve);
      second.on("error", reject);
    });
    await first.resign();
    await elected;
    expect(await election.leader()).toBe("second");
    await second.resign();
  });
});
