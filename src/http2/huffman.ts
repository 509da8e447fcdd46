// The Huffman code of HPACK (RFC 7541, appendix B). It is canonical, so the lengths say it all:
// codes rise with their length, and within one length with the symbol. Read four bits at a time.
import { badBlock } from "./breach.ts";

const endOfString = 256;
/** Of the shortest code. */
const codeBitsMin = 5;

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

/** Two places a node, for bit 0 and 1: a node, or -1 - symbol. Node 0 is the root. */
function buildTree(): number[] {
  const tree: number[] = [0, 0];
  const symbols = codeLengths
    .map((length, symbol) => ({ length, symbol }))
    .toSorted((a, b) => a.length - b.length || a.symbol - b.symbol);
  let code = 0;
  let codeLength = 0;
  for (const { length, symbol } of symbols) {
    code <<= length - codeLength;
    codeLength = length;
    let node = 0;
    for (let bit = length - 1; bit > 0; bit--) {
      const place = 2 * node + ((code >> bit) & 1);
      if (tree[place] === 0) tree[place] = tree.push(0, 0) / 2 - 1;
      node = tree[place] ?? 0;
    }
    tree[2 * node + (code & 1)] = -1 - symbol;
    code++;
  }
  return tree;
}

/** Where four bits lead from a node: 512 times the next node, and one more than the symbol that
 * they complete. They complete one at most, for no code is shorter than five bits; below zero it
 * is the end of string, which no encoder writes. */
function buildSteps(tree: readonly number[]): Int32Array {
  const built = new Int32Array(8 * tree.length);
  for (let step = 0; step < built.length; step++) {
    let node = step >> 4;
    let symbol = -1;
    for (let bit = 3; bit >= 0; bit--) {
      const next = tree[2 * node + ((step >> bit) & 1)] ?? 0;
      if (next < 0) symbol = -1 - next;
      node = Math.max(0, next);
    }
    built[step] = symbol === endOfString ? -1 : 512 * node + symbol + 1;
  }
  return built;
}

/** Nodes where a string may end: up to seven bits after a symbol, all of them ones. */
function buildEnds(tree: readonly number[]): Uint8Array {
  const built = new Uint8Array(tree.length / 2);
  for (let node = 0, bits = 0; bits <= 7; bits++) {
    built[node] = 1;
    node = tree[2 * node + 1] ?? 0;
  }
  return built;
}

const tree = buildTree();
const steps = buildSteps(tree);
const isEnd = buildEnds(tree);

/** One character a byte. Throws ConnectionError for what no encoder writes. */
export function decodeHuffman(bytes: Buffer, start: number, end: number): string {
  const text = Buffer.allocUnsafe(Math.ceil((8 * (end - start)) / codeBitsMin));
  let length = 0;
  let node = 0;
  for (let nibble = 2 * start; nibble < 2 * end; nibble++) {
    const byte = bytes[nibble >> 1] ?? 0;
    const step = steps[16 * node + ((nibble & 1) === 0 ? byte >> 4 : byte & 15)] ?? 0;
    if (step < 0) throw badBlock("an end of string");
    if ((step & 511) !== 0) text[length++] = (step & 511) - 1;
    node = step >> 9;
  }
  if (isEnd[node] !== 1) throw badBlock("half a symbol");
  return text.toString("latin1", 0, length);
}
