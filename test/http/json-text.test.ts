import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { JsonTextSplitter, quoteLargeNumbers } from "../../src/http/json-text.ts";

const limits = { bytesMax: 1000, depthMax: 8 };

/** Every text that `chunks` complete. */
function split(chunks: readonly Uint8Array[], from = limits): string[] {
  const splitter = new JsonTextSplitter(from);
  const texts = chunks.flatMap((chunk) => splitter.push(chunk));
  splitter.end();
  return texts;
}

const bytes = (text: string) => new TextEncoder().encode(text);

describe("JsonTextSplitter", () => {
  test("cuts objects that follow each other with and without white space", () => {
    expect(split([bytes('{"a":1}{"b":{}} \n\t{"c":[{}]}\n')])).toEqual([
      '{"a":1}',
      '{"b":{}}',
      '{"c":[{}]}',
    ]);
  });

  test("cuts the same texts however the bytes are chunked", () => {
    const json = fc.dictionary(fc.string({ unit: "binary" }), fc.jsonValue({ maxDepth: 2 }));
    const property = fc.property(fc.array(json, { maxLength: 4 }), fc.nat(9), (values, step) => {
      const texts = values.map((value) => JSON.stringify(value));
      const all = bytes(texts.join("\n"));
      const chunks: Uint8Array[] = [];
      for (let at = 0; at < all.length; at += step + 1) chunks.push(all.slice(at, at + step + 1));
      expect(split(chunks, { bytesMax: 1e6, depthMax: 100 })).toEqual(texts);
    });
    fc.assert(property, { numRuns: 200 });
  });

  test("is not misled by quotes, backslashes and braces inside strings", () => {
    const text = String.raw`{"a":"\\\"}{","b\\":"\\"}`;
    expect(split([...bytes(text)].map((byte) => Uint8Array.of(byte)))).toEqual([text]);
  });

  test("takes a body of single bytes in linear time", () => {
    const text = `{"value":"${"x".repeat(300_000)}"}`;
    const started = performance.now();
    const chunks = [...bytes(text)].map((byte) => Uint8Array.of(byte));
    expect(split(chunks, { bytesMax: 1e6, depthMax: 8 })).toEqual([text]);
    expect(performance.now() - started).toBeLessThan(5000);
  });

  for (const [what, text, message] of [
    ["nesting beyond the limit", "{".repeat(9), "json: exceeded max depth 8"],
    ["arrays nested beyond the limit", `{"a":${"[".repeat(9)}`, "json: exceeded max depth 8"],
    ["a text that is cut off", '{"a":', "json: unexpected end of input"],
    ["a text that is no object", "[1]", 'json: unexpected "[", expected an object'],
    ["a closing bracket alone", "}", 'json: unexpected "}", expected an object'],
    ["a text beyond the limit", `{"a":"${"x".repeat(1000)}"}`, "(1008 vs. 1000)"],
  ] as const) {
    test(`refuses ${what}`, () => {
      expect(() => split([bytes(text)])).toThrow(message);
    });
  }

  test("refuses bytes that are no UTF-8, also when the end cuts a character", () => {
    expect(() => split([Uint8Array.of(0x7b, 0x22, 0xff)])).toThrow("json: invalid UTF-8");
    expect(() => split([Uint8Array.of(0xc3)])).toThrow("json: invalid UTF-8");
  });
});

describe("quoteLargeNumbers", () => {
  for (const [text, expected] of [
    ['{"ID":9007199254740991}', '{"ID":9007199254740991}'],
    ['{"ID":9007199254740993}', '{"ID":"9007199254740993"}'],
    ['{"ID":-9223372036854775808,"a":[1]}', '{"ID":"-9223372036854775808","a":[1]}'],
    ['{"a":9007199254740993.0}', '{"a":"9007199254740993.0"}'],
    ['{"a":1e3}', '{"a":1e3}'],
    ['{"a":1e400}', '{"a":"1e400"}'],
    [String.raw`{"12345678901234567890\"1":"98765432109876543210\\"}`, null],
    [
      "[18446744073709551615,18446744073709551615]",
      '["18446744073709551615","18446744073709551615"]',
    ],
  ] as const) {
    test(`maps ${text}`, () => {
      expect(quoteLargeNumbers(text)).toBe(expected ?? text);
    });
  }

  test("changes no JSON value that doubles hold", () => {
    const property = fc.property(fc.jsonValue({ noUnicodeString: false }), (value) => {
      const text = JSON.stringify(value);
      if (/\d[eE]|\d{16}/.test(text)) return;
      expect(quoteLargeNumbers(text)).toBe(text);
    });
    fc.assert(property, { numRuns: 200 });
  });
});
