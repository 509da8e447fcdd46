// The end of a call on the wire.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { RequestError } from "../../src/base/errors.ts";
import { encodeStatusText, trailersOf } from "../../src/grpc/status.ts";
import { HpackDecoder } from "../../src/http2/hpack-decoder.ts";

describe("status", () => {
  test("encodeStatusText escapes percent, control bytes and UTF-8, and nothing else", () => {
    expect(encodeStatusText("etcdserver: key is not provided")).toBe(
      "etcdserver: key is not provided",
    );
    expect(encodeStatusText("100%\n\t é")).toBe("100%25%0A%09 %C3%A9");
  });

  test("encodeStatusText gives printable ASCII that decodes to the text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        const encoded = encodeStatusText(text);
        expect(encoded).toMatch(/^[ -~]*$/);
        expect(decodeURIComponent(encoded)).toBe(text);
      }),
    );
  });

  test("trailersOf carries status and text of a refusal, and only the status of OK", () => {
    const fieldsOf = (block: Buffer) => new HpackDecoder(10_000).decode(block, 0, block.length);
    expect(fieldsOf(trailersOf(null))).toEqual(["grpc-status", "0"]);
    expect(fieldsOf(trailersOf(RequestError.of("emptyKey")))).toEqual([
      ...["grpc-status", "3"],
      ...["grpc-message", "etcdserver: key is not provided"],
    ]);
  });
});
