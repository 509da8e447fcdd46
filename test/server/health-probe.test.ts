import { expect, test } from "vitest";
import { RequestError } from "../../src/base/errors.ts";
import { RangeResponse } from "../../src/proto/etcdserverpb/kv.ts";
import { HealthProbe } from "../../src/server/health-probe.ts";

function probe(leader: string | null, refusal: RequestError | null) {
  const calls: string[] = [];
  const node = {
    status: () => ({ leader, isLearner: false }),
    async barrier() {
      calls.push("barrier");
      if (refusal !== null) throw refusal;
    },
    async range() {
      calls.push("range");
      return RangeResponse.fromPartial({});
    },
  };
  return { probe: new HealthProbe(node), calls };
}

test("HealthProbe reads behind the barrier when linearizable, and without it when not", async () => {
  const { probe: healthy, calls } = probe("1", null);
  await healthy.read("serializable");
  await healthy.read("linearizable");
  expect(calls).toEqual(["range", "barrier", "range"]);
  expect([healthy.hasLeader(), healthy.isLearner(), healthy.alarms()]).toEqual([true, false, []]);
});

test("HealthProbe passes on the refusal of the barrier", async () => {
  const { probe: cut } = probe(null, RequestError.of("timeout"));
  expect(cut.hasLeader()).toBe(false);
  await cut.read("serializable");
  await expect(cut.read("linearizable")).rejects.toThrow("etcdserver: request timed out");
});
