import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { RequestError } from "../../src/base/errors.ts";
import type { HttpFixture } from "./http-fixture.ts";
import { openFixture } from "./http-fixture.ts";

let fixture: HttpFixture;
beforeEach(async () => {
  fixture = await openFixture();
});
afterEach(async () => {
  await fixture.app.close();
});

async function get(url: string): Promise<[number, string]> {
  const reply = await fixture.app.inject({ method: "GET", url });
  return [reply.statusCode, reply.body];
}

describe("/health", () => {
  test("is true to the byte when all is well", async () => {
    expect(await get("/health")).toEqual([200, '{"health":"true","reason":""}']);
    expect(fixture.observed).toEqual([["/health", null, true]]);
  });

  test("names alarms before the leader before the read", async () => {
    const { health } = fixture;
    health.readFailure.linearizable = RequestError.of("timeout");
    expect(await get("/health")).toEqual([
      503,
      '{"health":"false","reason":"RANGE ERROR:etcdserver: request timed out"}\n',
    ]);
    health.hasLeader = false;
    expect(await get("/health")).toEqual([503, '{"health":"false","reason":"RAFT NO LEADER"}\n']);
    health.alarms = ["NOSPACE", "CORRUPT"];
    expect(await get("/health")).toEqual([503, '{"health":"false","reason":"ALARM NOSPACE"}\n']);
    expect(await get("/health?exclude=NOSPACE")).toEqual([
      503,
      '{"health":"false","reason":"ALARM CORRUPT"}\n',
    ]);
    expect((await get("/health?exclude=NOSPACE&exclude=CORRUPT"))[1]).toContain("NO LEADER");
  });

  test("asks neither leader nor quorum when serializable", async () => {
    fixture.health.hasLeader = false;
    fixture.health.readFailure.linearizable = RequestError.of("timeout");
    expect((await get("/health?serializable=true"))[0]).toBe(200);
    expect((await get("/health?serializable=1"))[0]).toBe(503);
  });

  test("counts a refusal for want of a user as health", async () => {
    fixture.health.readFailure.linearizable = RequestError.of("userEmpty");
    expect((await get("/health"))[0]).toBe(200);
    fixture.health.readFailure.linearizable = RequestError.of("permissionDenied");
    expect((await get("/health"))[0]).toBe(200);
  });
});

describe("/livez and /readyz", () => {
  test("answer ok, and list the checks when verbose", async () => {
    expect(await get("/livez")).toEqual([200, "ok\n"]);
    expect(await get("/livez?verbose")).toEqual([200, "[+]serializable_read ok\nok\n"]);
    expect(await get("/readyz?verbose")).toEqual([
      200,
      "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n" +
        "[+]non_learner ok\nok\n",
    ]);
  });

  test("list every check when one fails", async () => {
    fixture.health.alarms = ["CORRUPT"];
    fixture.health.isLearner = true;
    fixture.health.readFailure.linearizable = RequestError.of("noLeader");
    expect(await get("/readyz")).toEqual([
      503,
      "[-]data_corruption failed: alarm activated: CORRUPT\n[+]serializable_read ok\n" +
        "[-]linearizable_read failed: etcdserver: no leader\n" +
        "[-]non_learner failed: not supported for learner\n\n",
    ]);
    expect((await get("/livez"))[0]).toBe(200);
  });

  test("leave excluded checks out and ignore unknown names", async () => {
    fixture.health.isLearner = true;
    expect((await get("/readyz?exclude=non_learner&exclude=nothing"))[0]).toBe(200);
  });

  test("serve each check alone", async () => {
    fixture.health.isLearner = true;
    expect(await get("/readyz/linearizable_read")).toEqual([200, "ok\n"]);
    expect((await get("/readyz/non_learner"))[0]).toBe(503);
    expect((await get("/livez/non_learner"))[0]).toBe(404);
  });
});

test("plain endpoints refuse other methods than GET with an Allow header", async () => {
  for (const url of ["/health", "/livez", "/readyz/non_learner", "/version", "/metrics"]) {
    for (const method of ["POST", "PUT", "HEAD"] as const) {
      const reply = await fixture.app.inject({ method, url });
      expect([url, reply.statusCode, reply.headers["allow"]]).toEqual([url, 405, "GET"]);
    }
  }
});

test("/version says not_decided until a leader was seen", async () => {
  fixture.health.hasLeader = false;
  expect((await get("/version"))[1]).toBe(
    '{"etcdserver":"3.7.1","etcdcluster":"not_decided","storage":"unknown"}',
  );
  fixture.health.hasLeader = true;
  await get("/version");
  fixture.health.hasLeader = false;
  expect((await get("/version"))[1]).toBe(
    '{"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"}',
  );
});

test("/metrics carries the registry's content type", async () => {
  const reply = await fixture.app.inject({ method: "GET", url: "/metrics" });
  expect([reply.headers["content-type"], reply.body]).toEqual([
    "text/plain; version=0.0.4",
    "up 1\n",
  ]);
});
