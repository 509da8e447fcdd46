// Ids of a first configuration: the same on every member, as etcd computes them.
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { clusterIdOf, initialCluster, memberIdOf } from "../../src/server/bootstrap.ts";

const members = [
  { name: "a", peerUrls: ["http://127.0.0.1:2380"] },
  { name: "b", peerUrls: ["http://127.0.0.1:22380", "http://10.0.0.1:22380"] },
  { name: "c", peerUrls: ["http://127.0.0.1:32380"] },
];

describe("bootstrap", () => {
  test("memberIdOf is the start of SHA-1 over sorted peer URLs and token", () => {
    const digest = createHash("sha1").update("http://127.0.0.1:2380etcd-cluster").digest();
    expect(memberIdOf(["http://127.0.0.1:2380"], "etcd-cluster")).toBe(
      digest.readBigUInt64BE(0).toString(),
    );
  });

  test("memberIdOf gives the ids that etcd gives", () => {
    // etcd's own bootstrap of a member at its default peer URL and token: 8e9e05c52164694d.
    const id = memberIdOf(["http://localhost:2380"], "etcd-cluster");
    expect(BigInt(id).toString(16)).toBe("8e9e05c52164694d");
    expect(BigInt(clusterIdOf([id])).toString(16)).toBe("cdf818194e3a8c32");
  });

  test("initialCluster depends on no order, and on the token", () => {
    const one = initialCluster(members, "t");
    const other = initialCluster(
      [...members].reverse().map(({ name, peerUrls }) => ({
        name,
        peerUrls: [...peerUrls].reverse(),
      })),
      "t",
    );
    expect(other).toEqual(one);
    expect(one.configuration.voters).toEqual(one.members.map(({ id }) => id));
    expect(initialCluster(members, "u").clusterId).not.toBe(one.clusterId);
  });

  test("initialCluster orders ids as numbers, not as text", () => {
    const { members: sorted } = initialCluster(members, "t");
    const numbers = sorted.map(({ id }) => BigInt(id));
    expect(numbers).toEqual([...numbers].sort((x, y) => (x < y ? -1 : 1)));
  });

  test("initialCluster refuses two members with one id", () => {
    expect(() => initialCluster([...members, ...members], "t")).toThrow("one id");
  });
});
