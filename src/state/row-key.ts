// Storage keys of the rows that the state machine itself names: one byte of kind, then the id as
// eight bytes, so that the rows of one kind lie together. Keys of the key space (latest rows,
// history) belong to store/layout.ts, which keeps these two prefixes free.

/** Rows of leases: value is a LeaseGrantRequest (id, granted TTL). */
export const leaseRowPrefix = 0x4c; // L
/** Rows of members: value is a MemberAttributes. */
export const memberRowPrefix = 0x4d; // M

/** `id` is a decimal 64-bit id, signed or unsigned. */
export function idRowKey(prefix: number, id: string): Uint8Array {
  const key = new Uint8Array(9);
  key[0] = prefix;
  new DataView(key.buffer).setBigUint64(1, BigInt.asUintN(64, BigInt(id)));
  return key;
}
