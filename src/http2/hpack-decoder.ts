// Header blocks of requests (HPACK, RFC 7541): the static table, one dynamic table a connection,
// plain and Huffman strings. Strings have one character a byte.
//
// A block costs no more than what it says: entries of the dynamic table are shared, and a list
// beyond `listBytesMax` (names, values and 32 bytes a pair, as SETTINGS count it) ends the
// connection, since the table would otherwise have to be kept for a block that nobody reads.
import { badBlock, tooMuch } from "./breach.ts";
import { decodeHuffman } from "./huffman.ts";

/** Names and values in turn, as they came. */
export type HeaderFields = readonly string[];

/** What one pair costs beyond its bytes (RFC 7541, 4.1). */
export const pairBytes = 32;
/** Before and after our SETTINGS, which do not mention it. */
const tableBytesMax = 4_096;

export class HpackDecoder {
  readonly #listBytesMax: number;
  /** Names and values in turn; the newest pair is last. */
  #table: string[] = [];
  #tableBytes = 0;
  #tableBytesMax = tableBytesMax;
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;
  #end = 0;
  #listBytes = 0;

  constructor(listBytesMax: number) {
    this.#listBytesMax = listBytesMax;
  }

  /** One whole header block. Throws ConnectionError. */
  decode(bytes: Buffer, start: number, end: number): HeaderFields {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
    const fields: string[] = [];
    this.#listBytes = 0;
    while (this.#at < this.#end) {
      const first = this.#bytes[this.#at] ?? 0;
      if ((first & 0xe0) === 0x20) {
        if (fields.length > 0) throw badBlock("a table size after a field");
        this.#resize(this.#integer(5));
        continue;
      }
      this.#field(first, fields);
      const { length } = fields;
      this.#listBytes +=
        pairBytes + (fields[length - 2]?.length ?? 0) + (fields[length - 1]?.length ?? 0);
      if (this.#listBytes > this.#listBytesMax) {
        throw tooMuch("header_list_too_large");
      }
    }
    return fields;
  }

  /** Size of the last list that was decoded. */
  listBytes(): number {
    return this.#listBytes;
  }

  /** Appends one pair to `fields`. */
  #field(first: number, fields: string[]): void {
    if (first >= 0x80) {
      this.#pushIndexed(this.#integer(7), fields);
      return;
    }
    const isIndexed = first >= 0x40;
    const nameIndex = this.#integer(isIndexed ? 6 : 4);
    const name = nameIndex === 0 ? this.#string() : this.#nameAt(nameIndex);
    const value = this.#string();
    fields.push(name, value);
    if (isIndexed) this.#insert(name, value);
  }

  #pushIndexed(index: number, fields: string[]): void {
    const name = this.#nameAt(index);
    const place = this.#placeOf(index);
    fields.push(name, (place < 0 ? staticTable[2 * index - 1] : this.#table[place + 1]) ?? "");
  }

  #nameAt(index: number): string {
    const place = this.#placeOf(index);
    const name = place < 0 ? staticTable[2 * index - 2] : this.#table[place];
    if (name === undefined) throw badBlock(`an index of ${index}`);
    return name;
  }

  /** Where an index lies in the dynamic table; below zero: in the static one, or nowhere. */
  #placeOf(index: number): number {
    const staticCount = staticTable.length / 2;
    if (index <= staticCount) return -1;
    const place = this.#table.length - 2 * (index - staticCount);
    if (place < 0) throw badBlock(`an index of ${index}`);
    return place;
  }

  #insert(name: string, value: string): void {
    this.#tableBytes += pairBytes + name.length + value.length;
    this.#table.push(name, value);
    this.#evict();
  }

  #resize(bytesMax: number): void {
    if (bytesMax > tableBytesMax) throw badBlock(`a table size of ${bytesMax}`);
    this.#tableBytesMax = bytesMax;
    this.#evict();
  }

  #evict(): void {
    let count = 0;
    while (this.#tableBytes > this.#tableBytesMax) {
      const name = this.#table[count] ?? "";
      this.#tableBytes -= pairBytes + name.length + (this.#table[count + 1]?.length ?? 0);
      count += 2;
    }
    if (count > 0) this.#table.splice(0, count);
  }

  /** An integer whose first bits share a byte with a pattern (RFC 7541, 5.1). */
  #integer(prefixBits: number): number {
    const mask = (1 << prefixBits) - 1;
    let value = this.#byte() & mask;
    if (value < mask) return value;
    for (let shift = 1; ; shift *= 128) {
      const byte = this.#byte();
      value += (byte & 127) * shift;
      if (value > 2 ** 24) throw badBlock("an integer that is too large");
      if (byte < 128) return value;
      if (shift > 2 ** 28) throw badBlock("an integer without end");
    }
  }

  #byte(): number {
    if (this.#at >= this.#end) throw badBlock("an early end");
    return this.#bytes[this.#at++] ?? 0;
  }

  #string(): string {
    const isHuffman = (this.#bytes[this.#at] ?? 0) >= 0x80;
    const length = this.#integer(7);
    const start = this.#at;
    const end = start + length;
    if (end > this.#end) throw badBlock("an early end");
    this.#at = end;
    if (isHuffman) return decodeHuffman(this.#bytes, start, end);
    return this.#bytes.toString("latin1", start, end);
  }
}

/** RFC 7541, appendix A: names and values in turn; index 1 is first. */
const staticTable: readonly string[] = [
  [":authority", ""],
  [":method", "GET"],
  [":method", "POST"],
  [":path", "/"],
  [":path", "/index.html"],
  [":scheme", "http"],
  [":scheme", "https"],
  ...["200", "204", "206", "304", "400", "404", "500"].map((status) => [":status", status]),
  ["accept-charset", ""],
  ["accept-encoding", "gzip, deflate"],
  ...["accept-language", "accept-ranges", "accept", "access-control-allow-origin"].map(bare),
  ...["age", "allow", "authorization", "cache-control", "content-disposition"].map(bare),
  ...["content-encoding", "content-language", "content-length", "content-location"].map(bare),
  ...["content-range", "content-type", "cookie", "date", "etag", "expect", "expires"].map(bare),
  ...["from", "host", "if-match", "if-modified-since", "if-none-match", "if-range"].map(bare),
  ...["if-unmodified-since", "last-modified", "link", "location", "max-forwards"].map(bare),
  ...["proxy-authenticate", "proxy-authorization", "range", "referer", "refresh"].map(bare),
  ...["retry-after", "server", "set-cookie", "strict-transport-security"].map(bare),
  ...["transfer-encoding", "user-agent", "vary", "via", "www-authenticate"].map(bare),
].flat();

function bare(name: string): string[] {
  return [name, ""];
}
