// The Huffman code of HPACK (RFC 7541, appendix B). It is canonical, so the lengths say it all:
// codes rise with their length, and within one length with the symbol.
import { ConnectionError, errorCode } from "./wire.ts";

const endOfString = 256;

/** Bits of the code of each byte value, then of the end of string; 16 to a line. */
const codeLengths: readonly number[] = [
  [13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28],
  [28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28],
  [6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6],
  [5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10],
  [13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7],
  [7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6],
  [15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5],
  [6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28],
  [20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23],
  [24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24],
  [22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23],
  [21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23],
  [26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25],
  [19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27],
  [20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23],
  [26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26],
  [30],
].flat();

/** A binary tree: two places a node, for bit 0 and 1. Below zero: the symbol is -1 - value. */
const tree = buildTree();

function buildTree(): Int16Array {
  const nodes: number[] = [0, 0];
  const symbols = codeLengths
    .map((length, symbol) => ({ length, symbol }))
    .toSorted((a, b) => a.length - b.length || a.symbol - b.symbol);
  let code = 0;
  let codeLength = 0;
  for (const { length, symbol } of symbols) {
    code *= 2 ** (length - codeLength);
    codeLength = length;
    let node = 0;
    for (let bit = length - 1; bit >= 0; bit--) {
      const place = node + (Math.floor(code / 2 ** bit) % 2);
      if (bit === 0) {
        nodes[place] = -1 - symbol;
      } else {
        if (nodes[place] === 0) nodes[place] = nodes.push(0, 0) - 2;
        node = nodes[place] ?? 0;
      }
    }
    code++;
  }
  return Int16Array.from(nodes);
}

/** One character a byte. Throws ConnectionError for what no encoder writes. */
export function decodeHuffman(bytes: Buffer, start: number, end: number): string {
  const symbols: number[] = [];
  let node = 0;
  /** Bits since the last symbol, all of them ones so far. */
  let paddingBits = 0;
  let isPadding = true;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] ?? 0;
    for (let bit = 7; bit >= 0; bit--) {
      const one = (byte >> bit) & 1;
      paddingBits++;
      if (one === 0) isPadding = false;
      const next = tree[node + one] ?? 0;
      if (next >= 0) {
        node = next;
        continue;
      }
      const symbol = -1 - next;
      if (symbol === endOfString) throw malformed("has an end of string");
      symbols.push(symbol);
      node = 0;
      paddingBits = 0;
      isPadding = true;
    }
  }
  if (paddingBits > 7 || !isPadding) throw malformed("ends within a symbol");
  return String.fromCharCode(...symbols);
}

function malformed(what: string): ConnectionError {
  return new ConnectionError(errorCode.compressionError, `a header string ${what}`);
}
