// Whose data directory is whose, when the member table has not heard of it yet.
import { describe, expect, test } from "vitest";
import type { MemberId, StoreId } from "../../src/base/ids.ts";
import { Command } from "../../src/proto/keelson/command.ts";
import type { Entry } from "../../src/raft/entry.ts";
import { knownStores } from "../../src/server/known-stores.ts";
import { openState } from "../../src/server/open-state.ts";
import { Members } from "../../src/state/members.ts";
import { MemoryBackend } from "../../src/store/memory-backend.ts";
import { SimCluster } from "../sim/cluster.ts";

const ids = ["1", "2", "3"] as MemberId[];
const [first, second, third] = ids as [MemberId, MemberId, MemberId];

async function memberTable(): Promise<Members> {
  const opening = await openState(new MemoryBackend());
  if (opening.type !== "open") throw new Error(opening.type);
  return new Members(
    { store: opening.state.store },
    ids.map((id) => ({ id, name: `m${id}`, peerUrls: [], isLearner: false })),
  );
}

function attributes(member: MemberId, store: string) {
  return { member, name: `m${member}`, clientUrls: [], storeId: store as StoreId };
}

function publication(index: number, member: MemberId, store: string): Entry {
  const request = { $case: "memberAttributes" as const, value: attributes(member, store) };
  const command = Command.encode({ request, proposal: undefined }).finish();
  return { term: 1, index, kind: "normal", data: command };
}

describe("knownStores", () => {
  test("takes the table before the log's end, and of that end the first publication", async () => {
    const members = await memberTable();
    members.publish(attributes(first, "aa"));
    const opensTerm = { term: 1, index: 5, kind: "normal" as const, data: new Uint8Array(0) };
    const known = knownStores(members, [
      opensTerm,
      publication(6, first, "other"),
      publication(7, second, "bb"),
      publication(8, second, "cc"),
    ]);
    expect(ids.map(known)).toEqual(["aa", "bb", null]);
    members.publish(attributes(second, "cc"));
    members.publish(attributes(third, "dd"));
    expect(ids.map(known)).toEqual(["aa", "cc", "dd"]);
  });

  test("a wiped member is refused though its publication was the last write before power was lost", async () => {
    const cluster = await SimCluster.start({ size: 3, seed: 5 });
    await cluster.elected();
    await cluster.until(() =>
      cluster.members.every((member) =>
        member
          .node()
          .machine.members.list()
          .every(({ storeId }) => storeId !== null),
      ),
    );
    for (const member of cluster.members) {
      member.crash();
      member.loseStore();
      // The hint that would be on disk if nothing after the term's first entry had carried one.
      member.disk().hardState = { ...member.disk().hardState, commit: 1 };
    }
    const lastPublished = cluster.members.find(({ id }) => {
      const last = Command.decode(
        cluster.members[0]?.disk().entries.at(-1)?.data ?? new Uint8Array(),
      );
      return last.request?.$case === "memberAttributes" && last.request.value.member === id;
    });
    const [survivor, other] = cluster.members.filter((member) => member !== lastPublished);
    lastPublished?.wipe();
    await lastPublished?.start();
    await survivor?.start();
    await cluster.run(10_000);
    expect(cluster.leader()).toBeNull();
    await other?.start();
    await cluster.elected();
    expect(lastPublished?.node().status().last).toBe(0);
    expect(cluster.fatals).toEqual([]);
  });
});
