import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AssertionError } from "../../src/base/assert.ts";
import type { LeaseId } from "../../src/base/ids.ts";
import { openState } from "../../src/server/open-state.ts";
import { Command } from "../../src/proto/keelson/command.ts";
import { decodeCommand } from "../../src/state/command.ts";
import type { CommandRequest } from "../../src/state/command.ts";
import { restoreMachine } from "../../src/state/machine.ts";
import type { Machine } from "../../src/state/machine.ts";
import type { CheckedStore } from "../../src/store/checked-store.ts";
import { MemoryBackend, emptyImage } from "../../src/store/memory-backend.ts";
import type { MemoryImage } from "../../src/store/memory-backend.ts";
import { rangeRequests } from "../api/request-arbitraries.ts";
import { commands } from "./command-arbitraries.ts";
import { applyRequest, newMachine, threeMembers } from "./machine-fixture.ts";
import { NaiveMachine } from "./naive-machine.ts";
import { RowMap } from "./row-map.ts";

const put = (key: string, lease = "0"): CommandRequest => ({
  $case: "put",
  value: {
    key: Uint8Array.from(Buffer.from(key)),
    value: new Uint8Array(1),
    lease,
    prevKv: false,
    ignoreValue: false,
    ignoreLease: false,
  },
});

interface Opened {
  readonly machine: Machine;
  readonly store: CheckedStore;
  readonly backend: MemoryBackend;
}

async function open(image: MemoryImage): Promise<Opened> {
  const backend = new MemoryBackend(image);
  const opening = await openState(backend);
  if (opening.type !== "open") throw new Error(`the store opens: ${JSON.stringify(opening)}`);
  const { state } = opening;
  return { machine: restoreMachine(state, threeMembers), store: state.store, backend };
}

/** Without Buffers: which rows came from memory and which from the backend is no difference. */
function plain<T>(value: T): T {
  return structuredClone(value);
}

/** All that members must agree on. */
function stateOf(machine: Machine): unknown {
  const { mvcc, leases, members } = machine;
  return {
    applied: machine.appliedId(),
    keys: mvcc.summary(),
    leases: leases
      .list()
      .sort()
      .map((id) => [leases.get(id), leases.keys(id)]),
    members: members.list(),
  };
}

describe("Machine", () => {
  test("Machine answers as the naive one does", () => {
    const property = fc.property(
      fc.array(commands, { minLength: 1, maxLength: 30 }),
      fc.array(rangeRequests, { maxLength: 3 }),
      (requests, ranges) => {
        const machine = newMachine();
        const naive = new NaiveMachine();
        for (const request of requests) {
          const applied = applyRequest(machine, request);
          const expected = naive.apply(request);
          expect(applied.outcome).toEqual(expected.outcome);
          expect(applied.events?.events ?? []).toEqual(expected.events);
          expect(machine.mvcc.revision()).toBe(naive.revision());
        }
        for (const range of ranges) expect(machine.mvcc.range(range)).toEqual(naive.read(range));
        expect(machine.leases.list().sort()).toEqual([...naive.leases.keys()].sort());
        for (const [id, granted] of naive.leases) {
          const keys = naive.keysOf(id);
          expect(machine.leases.get(id as LeaseId)).toEqual({
            id,
            ...granted,
            keyCount: keys.length,
          });
          expect(machine.leases.keys(id as LeaseId)).toEqual(keys);
        }
      },
    );
    fc.assert(property, { numRuns: 400 });
  });

  test("Machine is the same on two members, and after a restart anywhere", async () => {
    const runs = fc.record({
      requests: fc.array(commands, { minLength: 1, maxLength: 20 }),
      // Where the second one is killed, and how much of its overlay had reached the backend.
      killedAt: fc.nat(20),
      flushedAt: fc.nat(20),
      hasPhysicalCompaction: fc.boolean(),
    });
    const property = fc.asyncProperty(
      runs,
      async ({ requests, killedAt, flushedAt, hasPhysicalCompaction }) => {
        const steady = await open(emptyImage);
        let killed = await open(emptyImage);
        const outcomes: unknown[] = [];
        for (const [i, request] of requests.entries()) {
          outcomes.push(plain(applyRequest(steady.machine, request)));
          expect(plain(applyRequest(killed.machine, request))).toEqual(outcomes.at(-1));
          if (hasPhysicalCompaction) killed.machine.mvcc.compactStep(2);
          if (i === flushedAt) await killed.store.flush();
          if (i !== killedAt) continue;
          killed = await open(killed.backend.image());
          for (let next = killed.machine.appliedId().index; next <= i; next++) {
            const again = applyRequest(killed.machine, requests[next] as CommandRequest);
            expect(plain(again)).toEqual(outcomes[next]);
          }
        }
        expect(stateOf(killed.machine)).toEqual(stateOf(steady.machine));
      },
    );
    await fc.assert(property, { numRuns: 200 });
  });

  test("Machine ends every entry with one record: term, index and what the keys are", () => {
    const store = new RowMap();
    const machine = newMachine(store);
    machine.apply({ term: 3, index: 1, kind: "normal", data: new Uint8Array() });
    expect(store.applied).toMatchObject({ term: 3, index: 1, revision: 1, keyCount: 0 });
    applyRequest(machine, put("a"), 3);
    expect(store.applied).toMatchObject({ term: 3, index: 2, revision: 2, keyCount: 1 });
    expect(machine.appliedId()).toEqual({ term: 3, index: 2 });
  });

  test("Machine applies entries once and in order", () => {
    const machine = newMachine();
    const nothing = new Uint8Array();
    const entry = (index: number) => ({ term: 1, index, kind: "normal" as const, data: nothing });
    expect(() => machine.apply(entry(2))).toThrow(AssertionError);
    machine.apply(entry(1));
    expect(() => machine.apply(entry(1))).toThrow(AssertionError);
    machine.apply(entry(2));
  });

  test("Machine returns whose proposal it was", () => {
    const machine = newMachine();
    const proposal = { member: "18446744073709551615", start: 3, sequence: 9 };
    const command = Command.encode({ request: put("a"), proposal }).finish();
    const applied = machine.apply({ term: 1, index: 1, kind: "normal", data: command });
    expect(applied.proposal).toEqual(proposal);
    expect(applyRequest(machine, put("a")).proposal).toBeNull();
  });

  test("Machine keeps no memory of the entry it applied", () => {
    // A log may hand out views of one large page, as Buffers.
    const page = Buffer.alloc(200, 1);
    const command = Command.encode({ request: put("kept", "7"), proposal: undefined }).finish();
    page.set(command, 50);
    const view = page.subarray(50, 50 + command.length);
    const machine = newMachine();
    applyRequest(machine, { $case: "leaseGrant", value: { ID: "7", TTL: 9 } });
    machine.apply({ term: 1, index: 2, kind: "normal", data: view });
    page.fill(0xee);
    expect(machine.mvcc.find(Buffer.from("kept"))?.version).toBe(1);
    expect(machine.leases.keys("7" as LeaseId)).toEqual([Uint8Array.from(Buffer.from("kept"))]);
    expect(machine.mvcc.read(Buffer.from("kept"))?.value).toEqual(new Uint8Array(1));
  });
});

describe("decodeCommand", () => {
  const entry = (data: Uint8Array) => ({ term: 1, index: 5, kind: "normal" as const, data });

  test("decodeCommand finds no command in a term's first entry", () => {
    expect(decodeCommand(entry(new Uint8Array()))).toBeNull();
  });

  test("decodeCommand asserts that what is in the log is a command", () => {
    expect(() => decodeCommand(entry(Uint8Array.of(0x22, 9, 1)))).toThrow(AssertionError);
    const configuration = { ...entry(new Uint8Array()), kind: "configuration" as const };
    expect(() => decodeCommand(configuration)).toThrow(AssertionError);
  });

  test("decodeCommand leaves a command of a newer version to the machine, which stops", () => {
    const newer = entry(Uint8Array.of(0xea, 0x7d, 0));
    expect(decodeCommand(newer)?.request).toBeUndefined();
    expect(() => newMachine().apply({ ...newer, index: 1 })).toThrow(/not known here/);
  });
});
