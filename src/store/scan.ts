// Walking a range of a snapshot in bounded pieces.
import type { BackendRow, BackendSnapshot, KeyRange, RowLimits } from "./backend.ts";

export const scanLimits: RowLimits = { rowsMax: 1000, bytesMax: 1024 * 1024 };

export async function* scanPages(
  snapshot: BackendSnapshot,
  range: KeyRange,
): AsyncGenerator<BackendRow[]> {
  let { first } = range;
  for (;;) {
    const rows = await snapshot.rows({ first, end: range.end }, scanLimits);
    const last = rows.at(-1);
    if (last === undefined) return;
    yield rows;
    first = keyBehind(last.key);
  }
}

/** The smallest storage key greater than `key`. */
export function keyBehind(key: Uint8Array): Uint8Array {
  const behind = new Uint8Array(key.length + 1);
  behind.set(key);
  return behind;
}
