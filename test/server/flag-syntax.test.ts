import { describe, expect, test } from "vitest";
import { assert } from "../../src/base/assert.ts";
import { isFallback, rowFor, syntaxFault, urlFault } from "../../src/server/flag-syntax.ts";

describe("urlFault", () => {
  for (const url of ["http://127.0.0.1:1", "https://[::1]:65535", "http://a.b-c:2", "unix://x"]) {
    test(`takes ${url}`, () => expect(urlFault(url)).toBeUndefined());
  }
  for (const url of [
    "",
    "127.0.0.1:1",
    "http://",
    "http://:1",
    "http://h",
    "http://h:1/",
    "http://h:1/path",
    "http://u@h:1",
    "http://h:65536",
    "http://h:1x",
    "ws://h:1",
  ]) {
    test(`refuses "${url}"`, () => expect(urlFault(url)).toBeDefined());
  }
});

test("syntaxFault refuses whole numbers that JavaScript does not hold exactly", () => {
  expect(syntaxFault("int", "9007199254740991")).toBeUndefined();
  expect(syntaxFault("int", "9007199254740992")).toBe("expected a whole number");
  expect(syntaxFault("urls", "http://h:1, http://h:2")).toBeUndefined();
});

test("isFallback knows a default in other words", () => {
  const row = (name: string) => {
    const found = rowFor(name, [], name);
    assert(found !== undefined, name);
    return found;
  };
  expect(isFallback(row("compact-hash-check-time"), "60s")).toBe(true);
  expect(isFallback(row("pre-vote"), "1")).toBe(true);
  expect(isFallback(row("snapshot-count"), "010000")).toBe(true);
  expect(isFallback(row("snapshot-count"), "10001")).toBe(false);
  expect(isFallback(row("cert-file"), "x")).toBe(false);
});
