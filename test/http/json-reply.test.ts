import { expect, test } from "vitest";
import { AssertionError } from "../../src/base/assert.ts";
import { RequestError } from "../../src/base/errors.ts";
import { silentLogger } from "../../src/base/logger.ts";
import { errorBody, refusalOf, streamErrorBody } from "../../src/http/json-reply.ts";

test("refusalOf passes refusals, hides surprises, and lets broken invariants end the process", () => {
  const fatalities: unknown[] = [];
  const sinks = { logger: silentLogger, fatal: (error: unknown) => void fatalities.push(error) };
  const refusal = RequestError.of("noLeader");
  expect(refusalOf(refusal, sinks)).toBe(refusal);
  expect(refusalOf(new TypeError("secret"), sinks).message).toBe("internal error");
  expect(refusalOf("secret", sinks).status).toBe(13);
  expect(fatalities).toEqual([]);
  const broken = new AssertionError("broken");
  refusalOf(broken, sinks);
  expect(fatalities).toEqual([broken]);
});

test("errorBody and streamErrorBody are the union of the gateways' shapes", () => {
  const refusal = RequestError.of("leaseNotFound");
  const message = "etcdserver: requested lease not found";
  expect(errorBody(refusal)).toEqual({ error: message, message, code: 5, details: [] });
  expect(streamErrorBody(refusal)).toEqual({
    error: {
      grpc_code: 5,
      http_code: 404,
      message,
      http_status: "Not Found",
      code: 5,
      details: [],
    },
  });
});
