import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { AssertionError } from "../../src/base/assert.ts";
import { RequestError, errorTable, httpStatusOf } from "../../src/base/errors.ts";
import type { ErrorCode } from "../../src/base/errors.ts";
import type { HttpFixture } from "./http-fixture.ts";
import { openFixture } from "./http-fixture.ts";

let fixture: HttpFixture;
beforeEach(async () => {
  fixture = await openFixture();
});
afterEach(async () => {
  await fixture.app.close();
});

function post(url: string, payload: string | Buffer, headers: Record<string, string> = {}) {
  return fixture.app.inject({ method: "POST", url, payload, headers });
}

describe("Gateway, unary methods", () => {
  test("answers proto JSON with etcd's headers", async () => {
    const reply = await post("/v3/kv/put", '{"key":"Zm9v","value":"YmFy"}');
    expect(reply.statusCode).toBe(200);
    expect(reply.body).toBe('{"header":{"revision":"2"},"prev_kv":{"key":"Zm9v"}}');
    expect(reply.headers["content-type"]).toBe("application/json");
    expect(reply.headers["grpc-metadata-content-type"]).toBe("application/grpc");
    expect(reply.headers["access-control-allow-origin"]).toBe("*");
  });

  test("tells the observer of each call as of the gRPC call that it stands for", async () => {
    await post("/v3/kv/put", '{"key":"Zm9v","value":"YmFy"}');
    await post("/v3/lease/revoke", "{}");
    await post("/v3/kv/put", "{");
    expect(fixture.calls).toEqual([
      "started /etcdserverpb.KV/Put",
      "received /etcdserverpb.KV/Put 10",
      expect.stringMatching(/^sent \/etcdserverpb.KV\/Put \d+$/),
      "finished /etcdserverpb.KV/Put 0",
      "started /etcdserverpb.Lease/LeaseRevoke",
      "received /etcdserverpb.Lease/LeaseRevoke 0",
      "finished /etcdserverpb.Lease/LeaseRevoke 5",
      "started /etcdserverpb.KV/Put",
      "finished /etcdserverpb.KV/Put 3",
    ]);
  });

  test("takes an empty body, {} and any content type as an empty message", async () => {
    for (const [body, type] of [
      ["", "application/json"],
      ["{}", "text/plain"],
      ["{}", "application/x-www-form-urlencoded"],
    ] as const) {
      const reply = await post("/v3/kv/range", body, { "content-type": type });
      expect(reply.body).toBe('{"header":{"revision":"2"}}');
    }
  });

  test("serves /v3beta/ as /v3/ and the old paths of leases", async () => {
    expect((await post("/v3beta/kv/range", "{}")).statusCode).toBe(200);
    expect((await post("/v3/kv/lease/revoke", "{}")).statusCode).toBe(404);
    expect((await post("/v3/kv/lease/revoke", "{}")).json()).toMatchObject({ code: 5 });
    expect((await post("/v3alpha/kv/range", "{}")).json()).toMatchObject({ message: "Not Found" });
  });

  test("refuses other methods with 405 and unknown or unserved paths with 404", async () => {
    const get = await fixture.app.inject({ method: "GET", url: "/v3/kv/range" });
    expect([get.statusCode, get.headers["allow"]]).toEqual([405, "POST"]);
    expect(get.json()).toMatchObject({ code: 12, message: "Method Not Allowed" });
    for (const url of ["/v3/kv/nothing", "/v3/maintenance/defragment"]) {
      const reply = await post(url, "{}");
      expect(reply.statusCode).toBe(404);
      expect(reply.json()).toMatchObject({ code: 5, message: "Not Found" });
    }
  });

  test("maps every refusal to its HTTP status and the union of etcd's bodies", async () => {
    for (const [code, { status, text }] of Object.entries(errorTable)) {
      fixture.methods.rangeFailure = RequestError.of(code as ErrorCode, new Error("secret"));
      const reply = await post("/v3/kv/range", "{}");
      expect(reply.statusCode).toBe(httpStatusOf(status));
      expect(reply.headers["content-type"]).toBe("application/json");
      expect(reply.body).toBe(
        JSON.stringify({ error: text, message: text, code: status, details: [] }),
      );
    }
  });

  test("lets a broken invariant end the process", async () => {
    fixture.methods.rangeFailure = new AssertionError("index went backwards");
    await post("/v3/kv/range", "{}");
    expect(fixture.fatalities).toEqual([fixture.methods.rangeFailure]);
  });

  test("hides what an unexpected failure was", async () => {
    fixture.methods.rangeFailure = new TypeError("x is not a function");
    const reply = await post("/v3/kv/range", "{}");
    expect(reply.statusCode).toBe(500);
    expect(reply.json()).toMatchObject({ code: 13, message: "internal error" });
  });

  for (const [what, body, status] of [
    ["broken JSON", '{"key"', 400],
    ["two messages", "{}{}", 400],
    ["a list", "[]", 400],
    ["bytes that are no UTF-8", Buffer.from([0x7b, 0xff, 0x7d]), 400],
    ["nesting beyond the limit", `{"a":${"[".repeat(200)}`, 400],
    ["a body beyond the limit", `{"key":"${"A".repeat(5000)}"}`, 429],
  ] as const) {
    test(`refuses ${what}`, async () => {
      const reply = await post("/v3/kv/put", body);
      expect(reply.statusCode).toBe(status);
      expect(reply.json()).toMatchObject({ code: status === 429 ? 8 : 3 });
      expect(fixture.methods.puts).toEqual([]);
    });
  }

  test("hands deadline, token and metadata to the method", async () => {
    const before = performance.now();
    await post("/v3/kv/range", "{}", {
      authorization: "Bearer abc.1",
      "grpc-metadata-hasleader": "true",
      "grpc-timeout": "3S",
    });
    const [context] = fixture.methods.contexts;
    expect(context?.metadata.get("token")).toBe("abc.1");
    expect(context?.metadata.get("hasleader")).toBe("true");
    expect(context?.deadline).toBeGreaterThan(before + 2999);
    expect(context?.deadline).toBeLessThan(performance.now() + 3001);
    await post("/v3/kv/range", "{}", { authorization: "raw" });
    expect(fixture.methods.contexts[1]?.metadata.get("token")).toBe("raw");
    expect(fixture.methods.contexts[1]?.deadline).toBe(Infinity);
    expect((await post("/v3/kv/range", "{}", { "grpc-timeout": "soon" })).statusCode).toBe(400);
  });
});

describe("Gateway, streaming methods", () => {
  test("answers a line for each message and ends when the method does", async () => {
    const reply = await post("/v3/lease/keepalive", '{"ID":"7"}\n{"ID":9223372036854775807}');
    expect(reply.statusCode).toBe(200);
    expect(reply.headers["content-type"]).toBe("application/json");
    expect(reply.body).toBe(
      '{"result":{"ID":"7","TTL":"5"}}\n{"result":{"ID":"9223372036854775807","TTL":"5"}}\n',
    );
  });

  test("refuses before the first message with a status, later with a line", async () => {
    const early = await post("/v3/watch", '{"cancel_request":{}}');
    expect(early.statusCode).toBe(503);
    expect(early.json()).toMatchObject({ error: { code: 14, message: "etcdserver: no leader" } });
    const late = await post("/v3/watch", '{"create_request":{"watch_id":3}}{"create_request":5}');
    expect(late.statusCode).toBe(200);
    const [first, second] = late.body.trim().split("\n");
    expect(first).toBe('{"result":{"watch_id":"3","created":true}}');
    expect(JSON.parse(second ?? "")).toMatchObject({ error: { grpc_code: 3, http_code: 400 } });
  });
});

describe("HTTP guard", () => {
  test("answers foreign Host headers with 421", async () => {
    const strict = await openFixture({ hostWhitelist: ["store.example", "::1"] });
    const status = async (host: string) =>
      (await strict.app.inject({ method: "GET", url: "/health", headers: { host } })).statusCode;
    expect(await status("store.example:2379")).toBe(200);
    expect(await status("[::1]:2379")).toBe(200);
    expect(await status("evil.example")).toBe(421);
    await strict.app.close();
  });

  test("grants CORS to listed origins only, and answers OPTIONS", async () => {
    const strict = await openFixture({ corsOrigins: ["http://ui.example"] });
    const origin = async (from: string) => {
      const headers = { origin: from };
      const reply = await strict.app.inject({ method: "OPTIONS", url: "/v3/kv/put", headers });
      expect(reply.statusCode).toBe(200);
      return reply.headers["access-control-allow-origin"];
    };
    expect(await origin("http://ui.example")).toBe("http://ui.example");
    expect(await origin("http://evil.example")).toBeUndefined();
    await strict.app.close();
  });

  test("answers paths that are no UTF-8 and unknown ones without a fault", async () => {
    const bad = await fixture.app.inject({ method: "POST", url: "/v3/kv/%ff" });
    expect(bad.statusCode).toBe(400);
    const unknown = await fixture.app.inject({ method: "GET", url: "/nothing" });
    expect([unknown.statusCode, unknown.body]).toEqual([404, "404 page not found\n"]);
  });

  test("serves /metrics and health only on the metrics surface", async () => {
    const metrics = await openFixture({ surface: "metrics" });
    const status = async (url: string, method: "GET" | "POST" = "GET") =>
      (await metrics.app.inject({ method, url })).statusCode;
    expect(await status("/metrics")).toBe(200);
    expect(await status("/readyz")).toBe(200);
    expect(await status("/version")).toBe(404);
    expect(await status("/v3/kv/put", "POST")).toBe(404);
    await metrics.app.close();
  });
});
