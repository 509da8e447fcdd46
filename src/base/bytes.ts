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
