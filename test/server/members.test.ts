// Publishing this member, and finding out that it is not who the cluster knows.
import { describe, expect, test } from "vitest";
import { RequestError } from "../../src/base/errors.ts";
import type { ErrorCode } from "../../src/base/errors.ts";
import type { StoreId } from "../../src/base/ids.ts";
import { silentLogger } from "../../src/base/logger.ts";
import { Command } from "../../src/proto/keelson/command.ts";
import { MemberRefused, Membership } from "../../src/server/members.ts";
import { openState } from "../../src/server/open-state.ts";
import { Members } from "../../src/state/members.ts";
import type { Outcome } from "../../src/state/outcome.ts";
import { MemoryBackend } from "../../src/store/memory-backend.ts";
import { FakeClock } from "../sim/fake-clock.ts";
import { identity, options, own } from "./small-raft.ts";

const clock = new FakeClock();

async function setUp(): Promise<{ members: Members; membership: Membership }> {
  const opening = await openState(new MemoryBackend());
  if (opening.type !== "open") throw new Error(opening.type);
  const bootstrap = { id: own, name: "m0", peerUrls: [], isLearner: false };
  const members = new Members({ store: opening.state.store }, [bootstrap]);
  const deps = { members, identity, clock, logger: silentLogger };
  return { members, membership: new Membership(deps, options) };
}

/** Applies as the machine would. */
function applyTo(members: Members, command: Uint8Array): Outcome {
  const { request } = Command.decode(command);
  if (request?.$case !== "memberAttributes") throw new Error("not attributes");
  const code = members.publish(request.value);
  return code === null ? { type: "none" } : { type: "error", code };
}

function refuse(code: ErrorCode): Promise<never> {
  return Promise.reject(RequestError.of(code));
}

describe("members", () => {
  test("publish proposes until it is applied, and not again", async () => {
    const { members, membership } = await setUp();
    let attempts = 0;
    const publishing = membership.publish((command) => {
      attempts += 1;
      if (attempts < 3) return refuse("noLeader");
      return Promise.resolve(applyTo(members, command));
    });
    while (attempts < 3) {
      await Promise.resolve();
      clock.advance(options.publishRetryMs);
    }
    await publishing;
    expect(membership.isPublished()).toBe(true);
    expect(membership.own()).toMatchObject({ name: "m0", storeId: identity.store });
    await membership.publish(() => expect.unreachable());
  });

  test("publish ends quietly when the node stops", async () => {
    const { membership } = await setUp();
    await membership.publish(() => refuse("stopped"));
    expect(membership.isPublished()).toBe(false);
  });

  test("a member with another data directory than the cluster knows finds out, both ways", async () => {
    const { members, membership } = await setUp();
    membership.checkOwn();
    const stranger = { member: own, name: "m0", clientUrls: [], storeId: "old" as StoreId };
    members.publish(stranger);
    expect(() => membership.checkOwn()).toThrow(MemberRefused);
    const publishing = membership.publish((command) => Promise.resolve(applyTo(members, command)));
    await expect(publishing).rejects.toThrow(/by another data directory.*add it anew/);
  });
});
