// The sequential model against the naive machine, which was written separately: two explanations of
// etcd's semantics, one behaviour.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { commands } from "../state/command-arbitraries.ts";
import { NaiveMachine } from "../state/naive-machine.ts";
import type { Call } from "./operation.ts";
import { keyText, sameAnswer } from "./sequential-model.ts";
import { SingleCopy } from "./stories.ts";
import type { CommandRequest } from "../../src/state/command.ts";

function callOf(command: CommandRequest, isAlive: (id: string) => boolean): Call | null {
  switch (command.$case) {
    case "put":
    case "deleteRange":
    case "txn":
    case "compaction":
    case "leaseGrant":
    case "leaseRevoke":
      return { type: command.$case, request: command.value } as Call;
    case "leaseExpire":
      return { type: "leaseExpire", request: { IDs: command.value.IDs.filter(isAlive) } };
    case "memberAttributes":
      return null;
  }
}

test("run answers and changes what the naive machine does, for any commands", () => {
  fc.assert(
    fc.property(fc.array(commands, { maxLength: 40 }), (all) => {
      const copy = new SingleCopy();
      const naive = new NaiveMachine();
      for (const command of all) {
        const alive = new Set(naive.leases.keys());
        const call = callOf(command, (id) => alive.has(id));
        // Which leases an expiry means is the log's affair, not the clients'.
        if (call === null || call.type === "leaseExpire") continue;
        const effect = copy.apply(call);
        const { outcome, events } = naive.apply(command);
        if (effect.type === "refused")
          expect(outcome).toEqual({ type: "error", code: effect.code });
        else if ("response" in outcome) {
          expect(sameAnswer(outcome.response, effect.response), call.type).toBe(true);
          expect(effect.changes.map(({ key, pair }) => [key, pair])).toEqual(
            events.map(({ type, kv }) => [kv && keyText(kv.key), type === 0 ? kv : null]),
          );
        } else expect(outcome).toBe("an answer");
        expect(copy.state.revision).toBe(naive.revision());
      }
    }),
    { numRuns: 300 },
  );
});
