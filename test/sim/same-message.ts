// Messages compared, and written for a reader, as a person would: bytes by their content, fields by
// name whatever their order, and a field without a value as none. An answer is compared without its
// headers, which say who answered. It knows no message's type. Only what differs is ever written.
import { equalBytes } from "../../src/base/bytes.ts";

type Fields = Readonly<Record<string, unknown>>;

export function isSame(left: unknown, right: unknown): boolean {
  return isEqual(left, right, null);
}

/** But for the headers. */
export function isSameAnswer(left: unknown, right: unknown): boolean {
  return isEqual(left, right, "header");
}

function isEqual(left: unknown, right: unknown, but: string | null): boolean {
  if (left === right) return true;
  if (typeof left !== "object" || typeof right !== "object") return false;
  if (left === null || right === null) return false;
  if (left instanceof Uint8Array) return right instanceof Uint8Array && equalBytes(left, right);
  if (Array.isArray(left)) {
    if (!Array.isArray(right) || left.length !== right.length) return false;
    return left.every((item, i) => isEqual(item, right[i], but));
  }
  if (right instanceof Uint8Array || Array.isArray(right)) return false;
  return (
    hasAll(left as Fields, right as Fields, but) && hasNoMore(left as Fields, right as Fields, but)
  );
}

function hasAll(left: Fields, right: Fields, but: string | null): boolean {
  for (const field in left) {
    if (field !== but && !isEqual(left[field], right[field], but)) return false;
  }
  return true;
}

function hasNoMore(left: Fields, right: Fields, but: string | null): boolean {
  for (const field in right) {
    if (field !== but && right[field] !== undefined && left[field] === undefined) return false;
  }
  return true;
}

export function textOfBytes(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}

export function textOf(message: unknown): string {
  return written(message, null);
}

/** But for the headers. */
export function answerText(message: unknown): string {
  return written(message, "header");
}

function written(value: unknown, but: string | null): string {
  if (value instanceof Uint8Array) return `'${textOfBytes(value)}'`;
  if (Array.isArray(value)) return `[${value.map((item) => written(item, but)).join()}]`;
  if (typeof value !== "object" || value === null) return String(value);
  const fields = Object.entries(value)
    .filter(([field, content]) => content !== undefined && field !== but)
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .map(([field, content]) => `${field}: ${written(content, but)}`);
  return `{${fields.join(", ")}}`;
}
