// Byte strings: the only form of keys and values. Never decoded to text to be compared; order is
// bytewise, equal to LevelDB's, so that index, ranges and disk agree (rule J7).

export const emptyBytes = new Uint8Array(0);

/** Bytewise order: negative, zero or positive. A proper prefix sorts first. */
export function compareBytes(left: Uint8Array, right: Uint8Array): number {
  const length = left.length < right.length ? left.length : right.length;
  for (let i = 0; i < length; i++) {
    const difference = (left[i] as number) - (right[i] as number);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

export function equalBytes(left: Uint8Array, right: Uint8Array): boolean {
  if (left.length !== right.length) return false;
  for (let i = 0; i < left.length; i++) if (left[i] !== right[i]) return false;
  return true;
}

/** Bytes of a varint, 0 <= value < 2^53. */
export function varintBytes(value: number): number {
  let count = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) count++;
  return count;
}

/** Writes a varint as protobuf has it; returns where it ends. */
export function putVarint(target: Uint8Array, at: number, value: number): number {
  let end = at;
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) target[end++] = (rest % 128) + 128;
  target[end++] = rest;
  return end;
}

/** One array holding all parts in order. The parts are copied. */
export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const joined = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
