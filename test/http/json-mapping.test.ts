import { describe, expect, test } from "vitest";
import { assert } from "../../src/base/assert.ts";
import { JsonMapping } from "../../src/http/json-mapping.ts";
import { gatewayRoutes } from "../../src/http/routes.ts";
import {
  PutRequest,
  RangeRequest,
  RangeResponse,
  TxnRequest,
} from "../../src/proto/etcdserverpb/kv.ts";
import { LeaseGrantRequest } from "../../src/proto/etcdserverpb/lease.ts";
import { StatusResponse } from "../../src/proto/etcdserverpb/maintenance.ts";
import { WatchRequest, WatchResponse } from "../../src/proto/etcdserverpb/watch.ts";

const mapping = new JsonMapping();
const utf8 = new TextEncoder();

function schema(path: string) {
  const found = mapping.schema(`/etcdserverpb.${path}`);
  assert(found !== undefined, `${path} is not in the descriptors`);
  return found;
}

const encode = (path: string, text: string) => mapping.encode(schema(path).input, text);
const decode = (path: string, bytes: Uint8Array) => mapping.decode(schema(path).output, bytes);

describe("JsonMapping.encode", () => {
  test("takes proto names and lowerCamelCase, base64 in both alphabets, numbers and strings", () => {
    const expected = { key: utf8.encode("a?>"), rangeEnd: utf8.encode("z"), limit: 7, revision: 5 };
    for (const text of [
      '{"key":"YT8+","range_end":"eg==","limit":"7","revision":5}',
      '{"key":"YT8-","rangeEnd":"eg","limit":7,"revision":"5"}',
    ]) {
      const request = RangeRequest.decode(encode("KV/Range", text));
      expect(request).toEqual(RangeRequest.fromPartial(expected));
    }
  });

  test("takes enums by name and number and ignores unknown fields", () => {
    const text = '{"sort_order":"DESCEND","sort_target":3,"retry":5,"nested":{"x":[1]}}';
    const request = RangeRequest.decode(encode("KV/Range", text));
    expect([request.sortOrder, request.sortTarget]).toEqual([2, 3]);
  });

  test("lets an enum number that means nothing through, for the handler to refuse", () => {
    expect(RangeRequest.decode(encode("KV/Range", '{"sort_target":9}')).sortTarget).toBe(9);
  });

  test("keeps unquoted 64-bit integers digit by digit", () => {
    for (const id of ["9007199254740993", "9223372036854775807", "-9223372036854775808"]) {
      const request = LeaseGrantRequest.decode(encode("Lease/LeaseGrant", `{"ID":${id}}`));
      expect(request.ID).toBe(id);
    }
  });

  test("builds nested transactions and watch requests", () => {
    const txn = TxnRequest.decode(
      encode(
        "KV/Txn",
        '{"compare":[{"target":"VALUE","key":"YQ==","value":"Yg=="}],' +
          '"failure":[{"request_txn":{"success":[{"requestPut":{"key":"YQ=="}}]}}]}',
      ),
    );
    expect(txn.failure[0]?.request?.$case).toBe("requestTxn");
    const watch = WatchRequest.decode(encode("Watch/Watch", '{"create_request":{"key":"YQ=="}}'));
    expect(watch.requestUnion?.$case).toBe("createRequest");
  });

  test("takes prototype names as the unknown fields they are (X17)", () => {
    const text =
      '{"__proto__":{"key":"YQ=="},"constructor":1,"hasOwnProperty":2,"toString":3,"key":"Yg=="}';
    const request = PutRequest.decode(encode("KV/Put", text));
    expect(request.key).toEqual(utf8.encode("b"));
    expect(({} as { key?: unknown }).key).toBeUndefined();
  });

  test("lets the last of two equal fields count", () => {
    const request = PutRequest.decode(encode("KV/Put", '{"lease":1,"lease":"2"}'));
    expect(request.lease).toBe("2");
  });

  for (const [what, path, text] of [
    ["broken JSON", "KV/Put", '{"key":}'],
    ["broken base64", "KV/Put", '{"key":"*"}'],
    ["an integer beyond 64 bits", "KV/Range", '{"limit":9223372036854775808}'],
    ["an integer with a large fraction", "KV/Range", '{"limit":9007199254740993.5}'],
    ["a fraction", "KV/Range", '{"limit":1.5}'],
    ["a text for a number", "Lease/LeaseGrant", '{"ID":"abc"}'],
    ["an id beyond 64 bits", "Lease/LeaseGrant", '{"ID":"99999999999999999999999"}'],
    ["a number for bytes", "KV/Put", '{"key":5}'],
    ["a message for a list", "KV/Txn", '{"success":{}}'],
    ["two branches of one choice", "KV/Txn", '{"success":[{"request_put":{},"request_range":{}}]}'],
    [
      "transactions nested too deep",
      "KV/Txn",
      `${'{"success":[{"request_txn":'.repeat(60)}{}${"}]}".repeat(60)}`,
    ],
  ] as const) {
    test(`refuses ${what} as InvalidArgument`, () => {
      expect(() => encode(path, text)).toThrow(
        expect.objectContaining({ name: "RequestError", status: 3 }),
      );
    });
  }
});

describe("JsonMapping.decode", () => {
  test("writes proto names, strings for 64 bits, base64, and leaves zero values out", () => {
    const response = RangeResponse.fromPartial({
      header: { clusterId: "14841639068965178418", memberId: "1", revision: 5, raftTerm: 2 },
      kvs: [{ key: utf8.encode("foo"), createRevision: 2, modRevision: 3, version: 1, lease: "7" }],
      count: 1,
    });
    expect(decode("KV/Range", RangeResponse.encode(response).finish())).toEqual({
      header: {
        cluster_id: "14841639068965178418",
        member_id: "1",
        revision: "5",
        raft_term: "2",
      },
      kvs: [{ key: "Zm9v", create_revision: "2", mod_revision: "3", version: "1", lease: "7" }],
      count: "1",
    });
    const status = StatusResponse.encode(StatusResponse.fromPartial({ dbSize: 8 })).finish();
    expect(decode("Maintenance/Status", status)).toEqual({ dbSize: "8" });
    expect(decode("KV/Range", new Uint8Array(0))).toEqual({});
  });

  test("leaves the type of a put event out and names a delete", () => {
    const response = WatchResponse.fromPartial({
      events: [
        { type: 0, kv: { key: utf8.encode("a") } },
        { type: 1, kv: { modRevision: 4 } },
      ],
    });
    expect(decode("Watch/Watch", WatchResponse.encode(response).finish())).toEqual({
      events: [{ kv: { key: "YQ==" } }, { type: "DELETE", kv: { mod_revision: "4" } }],
    });
  });
});

describe("gatewayRoutes", () => {
  test("name methods that the descriptors have, each path once", () => {
    const paths = gatewayRoutes.flatMap((route) => route.paths);
    expect(new Set(paths).size).toBe(paths.length);
    for (const { method } of gatewayRoutes) expect(mapping.schema(method)).toBeDefined();
  });
});
