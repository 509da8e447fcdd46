// Stock etcdctl (Debian's etcd-client) against three members: what it prints is what it prints
// against etcd.
import { execFile, spawn } from "node:child_process";
import { promisify } from "node:util";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { postJson, ProcessCluster, until } from "../e2e/processes.ts";

const run = promisify(execFile);

describe("etcdctl", () => {
  let cluster: ProcessCluster;
  beforeAll(async () => {
    cluster = await ProcessCluster.start(3);
  });
  afterAll(async () => {
    await cluster.close();
  });

  const environment = { PATH: process.env["PATH"], ETCDCTL_API: "3" };

  async function etcdctl(...args: string[]): Promise<string> {
    const endpoints = `--endpoints=${cluster.endpoints().join(",")}`;
    const options = { env: environment, maxBuffer: 16 << 20 };
    const { stdout } = await run("etcdctl", [endpoints, ...args], options);
    return stdout;
  }

  /** Runs a command that must fail; resolves with what it wrote to stderr. */
  async function refused(...args: string[]): Promise<string> {
    try {
      await etcdctl(...args);
    } catch (error) {
      if (error instanceof Error && "stderr" in error) return String(error.stderr);
      throw error;
    }
    throw new Error(`etcdctl ${args.join(" ")} did not fail`);
  }

  async function etcdctlWithInput(input: string, ...args: string[]): Promise<string> {
    const child = spawn("etcdctl", [`--endpoints=${cluster.endpoints()[0]}`, ...args], {
      env: environment,
    });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.stdin.end(input);
    await new Promise((resolve) => child.once("exit", resolve));
    return output;
  }

  beforeEach(async () => {
    await etcdctl("del", "", "--prefix");
  });

  test("get of three megabytes: a Go client pings at every frame that it measures", async () => {
    const { client } = cluster.member("m0");
    const value = Buffer.alloc(10_000, "v").toString("base64");
    for (let i = 0; i < 300; i++) {
      const key = Buffer.from(`big/${String(i).padStart(3, "0")}`).toString("base64");
      await postJson(client, "/v3/kv/put", { key, value });
    }
    const printed = (await etcdctl("get", "big/", "--prefix")).split("\n");
    expect(printed.filter((line) => line.startsWith("big/"))).toHaveLength(300);
    expect(printed.filter((line) => line.length === 10_000)).toHaveLength(300);
  });

  test("put, get and del through every member", async () => {
    for (const [i, endpoint] of cluster.endpoints().entries()) {
      const one = async (...args: string[]) =>
        (await run("etcdctl", [`--endpoints=${endpoint}`, ...args], { env: environment })).stdout;
      expect(await one("put", `k${i}`, `v${i}`)).toBe("OK\n");
      expect(await one("get", `k${i}`)).toBe(`k${i}\nv${i}\n`);
    }
    expect(await etcdctl("get", "k", "--prefix", "--keys-only")).toBe("k0\n\nk1\n\nk2\n\n");
    expect(await etcdctl("get", "k0", "k2", "--print-value-only")).toBe("v0\nv1\n");
    expect(await etcdctl("get", "k", "--prefix", "--order=DESCEND", "--limit=1")).toBe("k2\nv2\n");
    expect(await etcdctl("get", "k1", "--from-key", "--print-value-only")).toBe("v1\nv2\n");
    expect(await etcdctl("put", "k0", "new", "--prev-kv")).toBe("OK\nk0\nv0\n");
    expect(await etcdctl("del", "k0", "--prev-kv")).toBe("1\nk0\nnew\n");
    expect(await etcdctl("del", "k", "--prefix")).toBe("2\n");
  });

  test("txn reads its three blocks from standard input", async () => {
    await etcdctl("put", "a", "1");
    const input = 'value("a") = "1"\n\nput a 2\nget a\n\nget a\n\n';
    expect(await etcdctlWithInput(input, "txn")).toBe("SUCCESS\n\nOK\n\na\n2\n");
    expect(await etcdctlWithInput(input, "txn")).toBe("FAILURE\n\na\n2\n");
  });

  test("lease grant, put, timetolive, keep-alive, list and revoke", async () => {
    const granted = await etcdctl("lease", "grant", "60");
    const id = /^lease ([0-9a-f]+) granted with TTL\(60s\)/.exec(granted)?.[1] ?? "";
    expect(id).not.toBe("");
    await etcdctl("put", "leased", "x", `--lease=${id}`);
    expect(await etcdctl("lease", "timetolive", id, "--keys")).toMatch(
      new RegExp(
        `^lease ${id} granted with TTL\\(60s\\), remaining\\(\\d+s\\), attached keys\\(\\[leased\\]\\)`,
      ),
    );
    expect(await etcdctl("lease", "keep-alive", "--once", id)).toContain("keepalived with TTL(60)");
    expect(await etcdctl("lease", "list")).toContain(id);
    expect(await etcdctl("lease", "revoke", id)).toBe(`lease ${id} revoked\n`);
    expect(await etcdctl("get", "leased")).toBe("");
    expect(await refused("lease", "revoke", id)).toContain("requested lease not found");
  });

  test("watch prints puts and deletes as they come, and replays from a revision", async () => {
    const endpoints = `--endpoints=${cluster.endpoints()[1]}`;
    const child = spawn("etcdctl", [endpoints, "watch", "w", "--prefix", "--prev-kv"], {
      env: environment,
    });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    try {
      await until("the watch to see a put", 20_000, async () => {
        await etcdctl("put", "w0", "probe");
        return output.includes("w0") || undefined;
      });
      await etcdctl("put", "w1", "one");
      await etcdctl("put", "w1", "two");
      await etcdctl("del", "w1");
      await until("the delete", 20_000, async () => output.includes("DELETE\n") || undefined);
      expect(output).toContain("PUT\nw1\none\nPUT\nw1\none\nw1\ntwo\nDELETE\nw1\ntwo\nw1\n\n");
    } finally {
      child.kill();
    }
  });

  test("compaction refuses older reads with etcd's text", async () => {
    await etcdctl("put", "c", "1");
    await etcdctl("put", "c", "2");
    const fields = await etcdctl("get", "c", "-w", "fields");
    const revision = Number(/"Revision" : (\d+)/.exec(fields)?.[1]);
    expect(await etcdctl("get", "c", `--rev=${revision - 1}`, "--print-value-only")).toBe("1\n");
    expect(await etcdctl("compaction", String(revision))).toBe(`compacted revision ${revision}\n`);
    expect(await refused("get", "c", `--rev=${revision - 1}`)).toContain(
      "etcdserver: mvcc: required revision has been compacted",
    );
    expect(await refused("compaction", String(revision))).toContain("has been compacted");
    expect(await refused("get", "c", `--rev=${revision + 100}`)).toContain("future revision");
    await etcdctl("put", "c", "3");
    expect(await etcdctl("compaction", String(revision + 1), "--physical")).toContain("compacted");
  });

  test("endpoint status, endpoint health, member list and alarm list", async () => {
    const status = await etcdctl("endpoint", "status", "-w", "json");
    const members = JSON.parse(status) as { Status: { leader: number; version: string } }[];
    expect(members).toHaveLength(3);
    expect(new Set(members.map(({ Status }) => Status.leader)).size).toBe(1);
    const { stdout, stderr } = await run(
      "etcdctl",
      [`--endpoints=${cluster.endpoints().join(",")}`, "endpoint", "health"],
      { env: environment },
    );
    expect(`${stdout}${stderr}`.match(/is healthy/g)).toHaveLength(3);
    expect((await etcdctl("member", "list")).trim().split("\n")).toHaveLength(3);
    expect(await etcdctl("alarm", "list")).toBe("");
  });

  test("a put that is too large is refused with etcd's text", async () => {
    const refusal = await etcdctlWithInput("x".repeat(1_600_000), "put", "large");
    expect(refusal).toContain("etcdserver: request is too large");
  });

  test("lock and elect recipes of etcdctl run on leases, transactions and watches", async () => {
    expect(await etcdctl("lock", "mutex", "echo", "inside")).toBe("inside\n");
    const child = spawn(
      "etcdctl",
      [`--endpoints=${cluster.endpoints()[2]}`, "elect", "boss", "me"],
      {
        env: environment,
      },
    );
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    try {
      await until("the election", 20_000, async () => output.includes("me\n") || undefined);
      expect(await etcdctl("get", "boss", "--prefix", "--print-value-only")).toBe("me\n");
    } finally {
      child.kill();
    }
  });

  test.skipIf(process.env["TEST_SERVER"] === "etcd")(
    "a method that is not built says so",
    async () => {
      expect(await refused("defrag", "--command-timeout=2s")).toMatch(
        /Unimplemented|unknown method/,
      );
    },
  );
});
