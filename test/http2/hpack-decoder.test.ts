// Header blocks: the examples of RFC 7541, appendix C, whole connections at a time, and our own
// blocks read back.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeHeaderBlock, noTable } from "../../src/http2/header-block.ts";
import { HpackDecoder } from "../../src/http2/hpack-decoder.ts";

function decode(decoder: HpackDecoder, hex: string): string[] {
  // Between other bytes, as in a frame.
  const bytes = Buffer.from(`ff${hex.replaceAll(" ", "")}ff`, "hex");
  return [...decoder.decode(bytes, 1, bytes.length - 1)];
}

const get = (...more: string[]) => [":method", "GET", ":scheme", "http", ":path", "/", ...more];
const www = [":authority", "www.example.com"];

/** C.3 and C.4: three requests of one connection, the same without and with Huffman. */
const requests = [
  get(...www),
  get(...www, "cache-control", "no-cache"),
  [
    ...[":method", "GET", ":scheme", "https", ":path", "/index.html"],
    ...www,
    ...["custom-key", "custom-value"],
  ],
];
const plainRequests = [
  "828684410f7777772e6578616d706c652e636f6d",
  "828684be58086e6f2d6361636865",
  "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
];
const huffmanRequests = [
  "828684418cf1e3c2e5f23a6ba0ab90f4ff",
  "828684be5886a8eb10649cbf",
  "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
];

/** C.5 and C.6: three responses, with a table of 256 bytes that has to let entries go. */
const cookie = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
const response = (status: string, second: string, ...more: string[]) => [
  ...[
    ":status",
    status,
    "cache-control",
    "private",
    "date",
    `Mon, 21 Oct 2013 20:13:${second} GMT`,
  ],
  ...["location", "https://www.example.com", ...more],
];
const responses = [
  response("302", "21"),
  response("307", "21"),
  response("200", "22", "content-encoding", "gzip", "set-cookie", cookie),
];
/** "Table size: 256" in front, which the paper's examples have been told out of band. */
const smallTable = "3fe101";
const plainResponses = [
  `${smallTable}4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a3231
   20474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d`,
  "4803333037c1c0bf",
  `88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d
   4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b20766572
   73696f6e3d31`,
];
const huffmanResponses = [
  `${smallTable}488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad17
   1863c78f0b97c8e9ae82ae43d3`,
  "4883640effc1c0bf",
  `88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdf
   cd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007`,
];

describe("HpackDecoder", () => {
  test.each([
    ["requests, plain (C.3)", plainRequests, requests],
    ["requests, Huffman (C.4)", huffmanRequests, requests],
    ["responses, plain (C.5)", plainResponses, responses],
    ["responses, Huffman (C.6)", huffmanResponses, responses],
  ])("reads the paper's %s", (_name, blocks, expected) => {
    const decoder = new HpackDecoder(16_384);
    expect(blocks.map((hex) => decode(decoder, hex.replaceAll(/\s/g, "")))).toEqual(expected);
  });

  test("reads each kind of literal (C.2), and keeps only those that say so", () => {
    const decoder = new HpackDecoder(16_384);
    const custom = ["custom-key", "custom-header"];
    expect(decode(decoder, "400a637573746f6d2d6b65790d637573746f6d2d686561646572")).toEqual(custom);
    expect(decode(decoder, "040c2f73616d706c652f70617468")).toEqual([":path", "/sample/path"]);
    expect(decode(decoder, "100870617373776f726406736563726574")).toEqual(["password", "secret"]);
    expect(decode(decoder, "82")).toEqual([":method", "GET"]);
    expect(decode(decoder, "be")).toEqual(custom);
    expect(() => decode(decoder, "bf")).toThrow("an index of 63");
  });

  test("counts a list as SETTINGS do, and throws beyond its limit", () => {
    const decoder = new HpackDecoder(100);
    decode(decoder, "8286");
    expect(decoder.listBytes()).toBe(7 + 3 + 32 + 7 + 4 + 32);
    decode(decoder, "");
    expect(decoder.listBytes()).toBe(0);
    expect(() => decode(decoder, "828682")).toThrow("header_list_too_large");
  });

  test("an entry larger than the table empties it, and is given out all the same", () => {
    const decoder = new HpackDecoder(16_384);
    decode(decoder, "40016101 62");
    const large = Buffer.alloc(4_100, "v").toString("hex");
    expect(decode(decoder, `400161 7f851f ${large}`)).toEqual(["a", "v".repeat(4_100)]);
    expect(() => decode(decoder, "be")).toThrow("an index of 62");
    expect(decode(decoder, "4001610162 be")).toEqual(["a", "b", "a", "b"]);
    expect(decode(decoder, "20 3fe11f 4001630164")).toEqual(["c", "d"]);
    expect(() => decode(decoder, "bf")).toThrow("an index of 63");
  });

  test("the static table is the paper's", () => {
    const decoder = new HpackDecoder(16_384);
    const indexes = Array.from({ length: 61 }, (_, i) => (0x81 + i).toString(16)).join("");
    const fields = decode(decoder, indexes);
    expect(fields).toHaveLength(122);
    const pairAt = (index: number) => fields.slice(2 * index - 2, 2 * index);
    expect([1, 8, 14, 15, 16, 17].map(pairAt)).toEqual([
      [":authority", ""],
      [":status", "200"],
      [":status", "500"],
      ["accept-charset", ""],
      ["accept-encoding", "gzip, deflate"],
      ["accept-language", ""],
    ]);
    expect([31, 32, 38, 54, 57, 58, 61].map((index) => pairAt(index)[0])).toEqual([
      ...["content-type", "cookie", "host", "server", "transfer-encoding", "user-agent"],
      "www-authenticate",
    ]);
  });

  test("throws nothing but ConnectionError for any bytes", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 5 }), (blocks) => {
        const decoder = new HpackDecoder(1_000);
        for (const block of blocks) {
          try {
            decoder.decode(Buffer.from(block), 0, block.length);
          } catch (error) {
            expect(error).toMatchObject({ name: "ConnectionError" });
            return;
          }
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("encodeHeaderBlock", () => {
  test("is read back as it was said, whatever its bytes", () => {
    const text = fc.string({
      unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)),
      maxLength: 400,
    });
    fc.assert(
      fc.property(fc.array(text, { maxLength: 10 }), (texts) => {
        const fields = texts.length % 2 === 0 ? texts : texts.slice(1);
        const block = Buffer.concat([noTable, encodeHeaderBlock([":status", "200", ...fields])]);
        const decoder = new HpackDecoder(100_000);
        expect(decoder.decode(block, 0, block.length)).toEqual([":status", "200", ...fields]);
      }),
    );
  });
});
