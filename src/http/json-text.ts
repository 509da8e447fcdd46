// JSON texts as they arrive, before JSON.parse: cut one after another out of a stream of bytes,
// bounded in size and depth while they come in, and made safe for 64-bit integers, which
// JSON.parse would round. Knows nothing of what the texts mean. Only objects are messages.
//
// Costs are linear in the bytes whatever the chunks: each byte is looked at once, so a body sent
// byte by byte is no worse than one in a piece (fault X9).
import { RequestError, grpcStatus } from "../base/errors.ts";

export interface JsonTextLimits {
  /** Bytes of one text, with the white space before it. */
  readonly bytesMax: number;
  /** Objects and arrays inside each other. */
  readonly depthMax: number;
}

function refused(text: string): RequestError {
  return RequestError.worded(grpcStatus.invalidArgument, text);
}

/** Cuts a stream of bytes into the texts of JSON objects. */
export class JsonTextSplitter {
  readonly #limits: JsonTextLimits;
  readonly #decoder = new TextDecoder("utf-8", { fatal: true });
  /** Of the text under way, in order. */
  #parts: string[] = [];
  #bytes = 0;
  /** 0: between texts. */
  #depth = 0;
  #isInString = false;
  /** In a string: an odd number of backslashes came right before. */
  #isEscaped = false;

  constructor(limits: JsonTextLimits) {
    this.#limits = limits;
  }

  /** The texts that this chunk completes. */
  push(chunk: Uint8Array): string[] {
    this.#bytes += chunk.length;
    const texts = this.#scan(this.#decode(chunk, true));
    this.#refuseAbove(this.#bytes);
    return texts;
  }

  /** Refuses a text that the end of the stream cut off. */
  end(): void {
    this.#scan(this.#decode(new Uint8Array(0), false));
    if (this.#depth > 0) throw refused("json: unexpected end of input");
  }

  #refuseAbove(bytes: number): void {
    const { bytesMax } = this.#limits;
    if (bytes <= bytesMax) return;
    throw RequestError.worded(
      grpcStatus.resourceExhausted,
      `grpc: received message larger than max (${bytes} vs. ${bytesMax})`,
    );
  }

  #decode(chunk: Uint8Array, stream: boolean): string {
    try {
      return this.#decoder.decode(chunk, { stream });
    } catch (cause) {
      throw RequestError.worded(grpcStatus.invalidArgument, "json: invalid UTF-8", cause);
    }
  }

  #scan(piece: string): string[] {
    const texts: string[] = [];
    // Where the part of this piece that belongs to the text under way starts.
    let start = 0;
    let at = 0;
    while (at < piece.length) {
      if (this.#isInString) {
        at = this.#skipString(piece, at);
        continue;
      }
      const character = piece[at] ?? "";
      if (this.#depth === 0) {
        if (character === "{") start = at;
        else if (!/[ \t\r\n]/.test(character)) {
          throw refused(`json: unexpected ${JSON.stringify(character)}, expected an object`);
        }
      }
      at++;
      if (character === '"') this.#isInString = true;
      else if (character === "{" || character === "[") this.#enter();
      else if ((character === "}" || character === "]") && --this.#depth === 0) {
        this.#parts.push(piece.slice(start, at));
        this.#refuseAbove(this.#bytes);
        texts.push(this.#parts.join(""));
        this.#parts = [];
        this.#bytes = 0;
      }
    }
    if (this.#depth > 0) this.#parts.push(piece.slice(start));
    return texts;
  }

  #enter(): void {
    this.#depth++;
    if (this.#depth > this.#limits.depthMax) {
      throw refused(`json: exceeded max depth ${this.#limits.depthMax}`);
    }
  }

  /** Index after the end of the string, or the end of the piece. */
  #skipString(piece: string, from: number): number {
    let at = from;
    if (this.#isEscaped) {
      this.#isEscaped = false;
      at++;
    }
    for (;;) {
      const quote = piece.indexOf('"', at);
      const end = quote === -1 ? piece.length : quote;
      let slashes = 0;
      while (end - slashes > at && piece[end - slashes - 1] === "\\") slashes++;
      const isOdd = slashes % 2 === 1;
      if (quote === -1) {
        this.#isEscaped = isOdd;
        return piece.length;
      }
      if (!isOdd) {
        this.#isInString = false;
        return quote + 1;
      }
      at = quote + 1;
    }
  }
}

const number = /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y;

/**
 * Puts quotes around every number that a double cannot be trusted with, so that 64-bit fields
 * (which take strings) get it digit by digit. No message has floating-point fields.
 */
export function quoteLargeNumbers(text: string): string {
  if (!/\d{16}|\d[eE]/.test(text)) return text;
  const parts: string[] = [];
  let copied = 0;
  let at = 0;
  while (at < text.length) {
    const character = text[at] ?? "";
    if (character === '"') {
      at = endOfString(text, at + 1);
      continue;
    }
    number.lastIndex = at;
    const match = number.exec(text);
    if (match === null) {
      at++;
      continue;
    }
    const [digits] = match;
    if (!(Math.abs(Number(digits)) <= Number.MAX_SAFE_INTEGER)) {
      parts.push(text.slice(copied, at), `"${digits}"`);
      copied = at + digits.length;
    }
    at += digits.length;
  }
  parts.push(text.slice(copied));
  return parts.join("");
}

/** Index after the closing quote; the end of the text when there is none. */
function endOfString(text: string, from: number): number {
  let at = from;
  for (;;) {
    const quote = text.indexOf('"', at);
    if (quote === -1) return text.length;
    let slashes = 0;
    while (quote - slashes > at && text[quote - slashes - 1] === "\\") slashes++;
    if (slashes % 2 === 0) return quote + 1;
    at = quote + 1;
  }
}
