// What operators' tools read of a member's log: one JSON object a line, with etcd's keys, and no
// line of level error in a clean run.
import { afterEach, expect, test } from "vitest";
import { postJson, ProcessCluster } from "./processes.ts";

let cluster: ProcessCluster;

afterEach(async () => {
  await cluster.close();
});

test("every line of a clean run is JSON with level, ts, caller and msg", async () => {
  cluster = await ProcessCluster.start(1);
  const { client } = cluster.member("m0");
  await postJson(client, "/v3/kv/put", { key: "YQ==", value: "YQ==" });
  expect(await cluster.kill("m0", "SIGTERM")).toBe(0);
  const lines = cluster.log("m0").trimEnd().split("\n");
  const texts = lines.map((line) => {
    const { level, ts, caller, msg } = JSON.parse(line) as Record<string, unknown>;
    expect(level, line).toMatch(/^(debug|info|warn)$/);
    expect(ts, line).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$/);
    expect(caller, line).toMatch(/^(server|peer|http|grpc|wal|dist)\/[a-z-]+\.js:\d+$/);
    return msg;
  });
  expect(texts.filter((text) => text === "ready to serve client requests")).toHaveLength(1);
});
