// Good histories: clients that call the sequential model at random moments between a call and its
// return. Whoever judges them must find nothing, and something once one thing in them is changed.
import { Prng } from "../../src/base/prng.ts";
import {
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  TxnRequest,
} from "../../src/proto/etcdserverpb/kv.ts";
import type { KeyValue } from "../../src/proto/mvccpb/kv.ts";
import type { RevisionEvents } from "../../src/state/outcome.ts";
import { ModelStates } from "./model-states.ts";
import type { ModelState } from "./model-states.ts";
import type { Call, OpenOperation, Operation } from "./operation.ts";
import { Recorder } from "./operation.ts";
import { run } from "./sequential-model.ts";
import type { Change, Effect } from "./sequential-model.ts";

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

export function put(key: string, value: string): Call {
  const request = PutRequest.fromPartial({ key: bytes(key), value: bytes(value), prevKv: true });
  return { type: "put", request };
}

export function get(key: string, more: Partial<RangeRequest> = {}): Call {
  return { type: "range", request: RangeRequest.fromPartial({ key: bytes(key), ...more }) };
}

export function remove(key: string): Call {
  return { type: "deleteRange", request: DeleteRangeRequest.fromPartial({ key: bytes(key) }) };
}

/** Puts when the key's value is `expected`; reads it otherwise. */
export function swap(key: string, expected: string, value: string): Call {
  const request = TxnRequest.fromPartial({
    compare: [
      { key: bytes(key), target: 3, targetUnion: { $case: "value", value: bytes(expected) } },
    ],
    success: [
      {
        request: {
          $case: "requestTxn",
          value: {
            success: [
              { request: { $case: "requestPut", value: { key: bytes(key), value: bytes(value) } } },
            ],
          },
        },
      },
    ],
    failure: [{ request: { $case: "requestRange", value: { key: bytes(key) } } }],
  });
  return { type: "txn", request };
}

export function eventsOf(changes: readonly Change[], revision: number): RevisionEvents {
  return {
    revision,
    events: changes.map(({ key, pair }) => {
      const zero = { createRevision: 0, version: 0, value: new Uint8Array(0), lease: "0" };
      const kv: KeyValue = pair ?? { ...zero, key: bytes(key), modRevision: revision };
      return { type: pair === null ? 1 : 0, kv, prevKv: undefined };
    }),
  };
}

/** The one copy, and the log of what happened to it. */
export class SingleCopy {
  readonly log: RevisionEvents[] = [];
  readonly #states = new ModelStates();
  state: ModelState = this.#states.initial;

  apply(call: Call): Effect {
    const effect = run(this.state, call);
    this.state = this.#states.after(this.state, effect);
    if (effect.type === "done" && effect.changes.length > 0) {
      this.log.push(eventsOf(effect.changes, this.state.revision));
    }
    return effect;
  }
}

export interface Story {
  readonly operations: readonly Operation[];
  readonly log: readonly RevisionEvents[];
}

/** `count` operations of eight clients over five keys; every value is put once. */
export function goodStory(seed: number, count: number, unknownShare = 0.1): Story {
  const prng = new Prng(seed);
  const copy = new SingleCopy();
  const recorder = new Recorder();
  const open: { call: Call; operation: OpenOperation; effect: Effect | null; isLost: boolean }[] =
    [];
  let begun = 0;
  while (begun < count || open.length > 0) {
    if (begun < count && (open.length === 0 || (open.length < 8 && prng.chance(0.4)))) {
      const call = anyCall(prng, copy, begun++);
      const operation = recorder.begin(`c${open.length}`, call);
      open.push({ call, operation, effect: null, isLost: prng.chance(unknownShare) });
      continue;
    }
    const one = prng.pick(open);
    if (one.effect === null && !(one.isLost && prng.chance(0.3))) {
      one.effect = copy.apply(one.call);
      continue;
    }
    open.splice(open.indexOf(one), 1);
    if (one.isLost || one.effect === null) one.operation.unknown();
    else if (one.effect.type === "refused") one.operation.refused(one.effect.code);
    else one.operation.ok(one.effect.response);
  }
  return { operations: recorder.operations(), log: copy.log };
}

function anyCall(prng: Prng, copy: SingleCopy, number: number): Call {
  const key = prng.pick(["a", "b", "c", "d", "e"]);
  const old = copy.state.find(key)?.value;
  switch (prng.pick(["put", "put", "get", "all", "old", "remove", "swap"] as const)) {
    case "put":
      return put(key, `v${number}`);
    case "get":
      return get(key);
    case "all":
      return get("a", { rangeEnd: bytes("d") });
    case "old":
      return get(key, { revision: prng.below(copy.state.revision + 2) });
    case "remove":
      return remove(key);
    case "swap":
      return swap(key, old === undefined ? "" : new TextDecoder().decode(old), `v${number}`);
  }
}
