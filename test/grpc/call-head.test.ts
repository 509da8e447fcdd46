// The header block of a request: what is read and what is refused, in grpc-go's words.
import { describe, expect, test } from "vitest";
import type { UnaryMethod } from "../../src/api/method.ts";
import { readCallHead, readTimeoutMs } from "../../src/grpc/call-head.ts";

const put: UnaryMethod = { kind: "unary", handle: async (request) => request };
const methods = new Map([["/etcdserverpb.KV/Put", put]]);

function read(changes: Record<string, string>, more: readonly string[] = []) {
  const fields = {
    ":method": "POST",
    ":path": "/etcdserverpb.KV/Put",
    "content-type": "application/grpc",
    ...changes,
  };
  return readCallHead(methods, [...Object.entries(fields).flat(), ...more], 1_000);
}

function refusalOf(changes: Record<string, string>): [number, number, string] {
  const head = read(changes);
  if (!("refusal" in head)) throw new Error("was not refused");
  return [head.httpStatus, head.refusal.status, head.refusal.message];
}

describe("call head", () => {
  test("readTimeoutMs knows the six units and at most eight digits", () => {
    expect(["1H", "2M", "3S", "4m", "5000u", "6000000n", "0S"].map(readTimeoutMs)).toEqual([
      3_600_000, 120_000, 3_000, 4, 5, 6, 0,
    ]);
    expect(readTimeoutMs("99999999H")).toBe(99_999_999 * 3_600_000);
    for (const text of ["", "1", "m", "123456789m", "-1S", "1.5S", "1s", "1 S", "1S\n"]) {
      expect(readTimeoutMs(text), text).toBeNull();
    }
  });

  test("readCallHead makes the deadline absolute", () => {
    expect(read({ "grpc-timeout": "250m" })).toMatchObject({ deadline: 1_250, method: put });
    expect(read({})).toMatchObject({ deadline: Infinity });
    expect(refusalOf({ "grpc-timeout": "soon" })).toEqual([
      400,
      13,
      'malformed grpc-timeout: "soon"',
    ]);
  });

  test("readCallHead keeps the first value of each name and nothing of the transport", () => {
    const more = [":authority", "host:1", "te", "trailers", "grpc-timeout", "1S"];
    more.push("token", "first", "token", "second");
    more.push("trace-bin", "AAE=", "user-agent", "test", "__proto__", "data");
    const head = read({}, more);
    if ("refusal" in head) throw new Error("was refused");
    const kept = { ":authority": "host:1", token: "first", "trace-bin": "AAE=" };
    for (const [name, value] of Object.entries({ ...kept, "user-agent": "test" })) {
      expect(head.metadata.get(name), name).toBe(value);
    }
    expect(head.metadata.get("__proto__")).toBe("data");
    for (const name of [":path", ":method", "content-type", "te", "grpc-timeout", "absent"]) {
      expect(head.metadata.get(name), name).toBeUndefined();
    }
  });

  test("readCallHead names the unknown service or the unknown method", () => {
    expect(refusalOf({ ":path": "/a.B/C" })).toEqual([200, 12, "unknown service a.B"]);
    expect(refusalOf({ ":path": "/etcdserverpb.KV/Get" })).toEqual([
      200,
      12,
      "unknown method Get for service etcdserverpb.KV",
    ]);
    expect(refusalOf({ ":path": "/" })).toEqual([200, 12, 'malformed method name: "/"']);
    expect(refusalOf({ ":path": "/__proto__/x" })[2]).toBe("unknown service __proto__");
  });

  test("readCallHead refuses other verbs, other message formats and compression", () => {
    expect(refusalOf({ ":method": "GET" }).slice(0, 2)).toEqual([405, 13]);
    expect(refusalOf({ "content-type": "application/grpc+json" })).toEqual([
      415,
      3,
      'invalid gRPC request content-type "application/grpc+json"',
    ]);
    expect(refusalOf({ "grpc-encoding": "gzip" })).toEqual([
      200,
      12,
      'grpc: Decompressor is not installed for grpc-encoding "gzip"',
    ]);
    expect(read({ "grpc-encoding": "identity" })).toMatchObject({ method: put });
    for (const contentType of ["application/grpc+proto", "application/grpc;charset=utf-8"]) {
      expect(read({ "content-type": contentType }), contentType).toMatchObject({ method: put });
    }
  });
});
