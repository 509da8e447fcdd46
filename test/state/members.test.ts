import { describe, expect, test } from "vitest";
import { AssertionError } from "../../src/base/assert.ts";
import type { MemberId } from "../../src/base/ids.ts";
import { Members } from "../../src/state/members.ts";
import { memberRowPrefix } from "../../src/state/row-key.ts";
import { threeMembers } from "./machine-fixture.ts";
import { RowMap } from "./row-map.ts";

const attributes = { member: "2", name: "two", clientUrls: ["http://b:2379"], storeId: "0b" };

describe("Members", () => {
  test("Members holds what was configured until a member publishes", () => {
    const members = new Members({ store: new RowMap() }, threeMembers);
    expect(members.list().map(({ id }) => id)).toEqual(threeMembers.map(({ id }) => id));
    expect(members.get("2" as MemberId)).toMatchObject({
      name: "m2",
      clientUrls: [],
      storeId: null,
    });
    expect(members.publish(attributes)).toBeNull();
    expect(members.get("2" as MemberId)).toMatchObject({ name: "two", storeId: "0b" });
    expect(members.get("9" as MemberId)).toBeUndefined();
  });

  test("Members refuses another store id, after a restart too", () => {
    const store = new RowMap();
    const members = new Members({ store }, threeMembers);
    members.publish(attributes);
    const restored = new Members({ store }, threeMembers);
    for (const row of store.rowsOf(memberRowPrefix)) restored.restore(row);
    expect(restored.list()).toEqual(members.list());
    expect(restored.publish({ ...attributes, storeId: "0c" })).toBe("memberExist");
    expect(restored.publish({ ...attributes, name: "again" })).toBeNull();
    expect(restored.publish({ ...attributes, member: "9" })).toBe("memberNotFound");
    expect(restored.get("2" as MemberId)).toMatchObject({ name: "again", storeId: "0b" });
  });

  test("Members asserts that members are configured once", () => {
    const twice = [...threeMembers, ...threeMembers];
    expect(() => new Members({ store: new RowMap() }, twice)).toThrow(AssertionError);
  });
});
