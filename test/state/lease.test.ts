import { describe, expect, test } from "vitest";
import { AssertionError } from "../../src/base/assert.ts";
import { compareBytes } from "../../src/base/bytes.ts";
import type { LeaseId } from "../../src/base/ids.ts";
import { Leases } from "../../src/state/lease.ts";
import { idRowKey, leaseRowPrefix, memberRowPrefix } from "../../src/state/row-key.ts";
import { RowMap } from "./row-map.ts";

const id = (text: string): LeaseId => text as LeaseId;
const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

describe("Leases", () => {
  test("Leases keeps the keys of a lease in byte order, whatever their bytes", () => {
    const leases = new Leases({ store: new RowMap() });
    leases.grant(id("7"), { ttl: 60, grantedIndex: 4 });
    const keys = [bytes(255, 0), bytes(97), bytes(0xc3, 0x28), bytes(0), bytes(97, 0), bytes(128)];
    for (const key of keys) leases.attach(id("7"), key);
    leases.attach(id("7"), bytes(97));
    expect(leases.keys(id("7"))).toEqual([...keys].sort(compareBytes));
    expect(leases.get(id("7"))).toEqual({ id: "7", ttl: 60, grantedIndex: 4, keyCount: 6 });
    leases.detach(id("7"), bytes(97));
    expect(leases.get(id("7"))?.keyCount).toBe(5);
  });

  test("Leases holds keys as long as a request may be", () => {
    const leases = new Leases({ store: new RowMap() });
    leases.grant(id("7"), { ttl: 60, grantedIndex: 4 });
    const long = Uint8Array.from({ length: 1_500_000 }, (_, i) => i % 251);
    leases.attach(id("7"), long);
    expect(compareBytes(leases.keys(id("7"))[0] ?? bytes(), long)).toBe(0);
  });

  test("Leases finds nothing of a lease that is not there", () => {
    const leases = new Leases({ store: new RowMap() });
    expect(leases.has(id("7"))).toBe(false);
    expect(leases.get(id("7"))).toBeUndefined();
    expect(leases.keys(id("7"))).toEqual([]);
    expect(leases.list()).toEqual([]);
  });

  test("Leases come back from their rows, ids, TTLs and indexes exact", () => {
    const store = new RowMap();
    const leases = new Leases({ store });
    const granted = ["9223372036854775807", "-9223372036854775808", "-1", "9007199254740993"];
    for (const one of granted) leases.grant(id(one), { ttl: 9_000_000_000, grantedIndex: 12 });
    leases.grant(id("5"), { ttl: 60, grantedIndex: 4 });
    leases.revoke(id("5"));
    const restored = new Leases({ store });
    for (const row of store.rowsOf(leaseRowPrefix)) restored.restore(row);
    expect(restored.list().sort()).toEqual([...granted].sort());
    expect(restored.get(id("-1"))).toEqual({
      id: "-1",
      ttl: 9_000_000_000,
      grantedIndex: 12,
      keyCount: 0,
    });
  });

  test("Leases asserts what the machine has checked", () => {
    const leases = new Leases({ store: new RowMap() });
    leases.grant(id("7"), { ttl: 60, grantedIndex: 4 });
    leases.attach(id("7"), bytes(1));
    const wrong = [
      () => leases.grant(id("7"), { ttl: 60, grantedIndex: 4 }),
      () => leases.grant(id("0"), { ttl: 60, grantedIndex: 4 }),
      () => leases.revoke(id("7")),
      () => leases.revoke(id("8")),
      () => leases.attach(id("8"), bytes(1)),
      () => leases.detach(id("7"), bytes(2)),
    ];
    for (const step of wrong) expect(step).toThrow(AssertionError);
  });
});

describe("idRowKey", () => {
  test("idRowKey gives each id of a kind a row of its own", () => {
    const ids = [
      "0",
      "1",
      "-1",
      "9223372036854775807",
      "-9223372036854775808",
      "18446744073709551614",
    ];
    const rows = ids.map((one) => Buffer.from(idRowKey(leaseRowPrefix, one)).toString("hex"));
    expect(new Set(rows).size).toBe(ids.length);
    expect(rows[2]).toBe("4cffffffffffffffff");
    expect(idRowKey(memberRowPrefix, "258")).toEqual(bytes(0x4d, 0, 0, 0, 0, 0, 0, 1, 2));
  });
});
