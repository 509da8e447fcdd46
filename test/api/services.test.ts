import * as fc from "fast-check";
import { expect, test } from "vitest";
import { serviceTable } from "../../src/api/services.ts";
import { RequestError, errorTable } from "../../src/base/errors.ts";
import { Prng } from "../../src/base/prng.ts";
import { callBytes, contextOf, startOneMember, testOptions } from "./one-member.ts";

test("serviceTable serves KV, Watch and Lease whole, and parts of Cluster and Maintenance", async () => {
  const { node } = await startOneMember();
  const deps = { node, clock: node.clock, random: new Prng(1), dbBytes: () => Promise.resolve(0) };
  const counts = new Map<string, number>();
  for (const path of serviceTable(deps, testOptions).keys()) {
    const service = path.split("/")[1] ?? "";
    counts.set(service, (counts.get(service) ?? 0) + 1);
  }
  expect(Object.fromEntries(counts)).toEqual({
    "etcdserverpb.KV": 6,
    "etcdserverpb.Watch": 1,
    "etcdserverpb.Lease": 5,
    "etcdserverpb.Cluster": 1,
    "etcdserverpb.Maintenance": 2,
  });
});

test("serviceTable puts every method behind its admission", async () => {
  const cluster = await startOneMember();
  cluster.node.leader = null;
  const context = contextOf({ hasleader: "true" });
  for (const [path, method] of cluster.methods) {
    const answer =
      method.kind === "unary"
        ? callBytes(cluster, path, new Uint8Array(), context)
        : method.handle(
            { async *[Symbol.asyncIterator]() {} },
            { write: () => true, writeParts: () => true, drained: () => Promise.resolve() },
            context,
          );
    await expect(answer, path).rejects.toMatchObject({ message: errorTable.noLeader.text });
  }
});

test("serviceTable answers any bytes with a response or a refusal, and the log stays applicable", async () => {
  const cluster = await startOneMember();
  const unary = [...cluster.methods].filter(([, method]) => method.kind === "unary");
  const property = fc.asyncProperty(
    fc.constantFrom(...unary.map(([path]) => path)),
    fc.uint8Array({ maxLength: 60 }),
    async (path, bytes) => {
      try {
        expect(await callBytes(cluster, path, bytes)).toBeInstanceOf(Uint8Array);
      } catch (error) {
        expect(error).toBeInstanceOf(RequestError);
      }
    },
  );
  await fc.assert(property, { numRuns: 3000 });
});
