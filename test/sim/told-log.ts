// A committed log told by hand, for the tests of the checkers: puts and deletes as one member would
// apply them, with outcomes from a naive machine of its own.
import { Command } from "../../src/proto/keelson/command.ts";
import { DeleteRangeRequest, PutRequest } from "../../src/proto/etcdserverpb/kv.ts";
import type { CommandRequest } from "../../src/state/command.ts";
import type { AppliedEntry } from "../../src/state/outcome.ts";
import { NaiveMachine } from "../state/naive-machine.ts";
import { CommittedLog } from "./committed-log.ts";
import type { ApplyingMember } from "./committed-log.ts";
import { bytesOf } from "./requests.ts";

export interface Telling {
  readonly by: string;
  readonly digest: string;
  readonly revision: number;
  readonly sequence: number;
  readonly applied: Partial<AppliedEntry>;
}

export class ToldLog {
  now = 0;
  readonly log = new CommittedLog(() => this.now);
  readonly #machine = new NaiveMachine();
  #index = 0;

  put(key: string, value: string, lease = "0"): number {
    const put = PutRequest.fromPartial({ key: bytesOf(key), value: bytesOf(value), lease });
    return this.apply({ $case: "put", value: put });
  }

  delete(key: string): number {
    const value = DeleteRangeRequest.fromPartial({ key: bytesOf(key) });
    return this.apply({ $case: "deleteRange", value });
  }

  /** The revision after it; `lie` is what the member says instead of the truth. */
  apply(request: CommandRequest, lie: Partial<Telling> = {}): number {
    const index = ++this.#index;
    const { outcome, events } = this.#machine.apply(request);
    const revision = this.#machine.revision();
    this.tell(index, request, {
      revision,
      ...lie,
      applied: {
        outcome,
        events: events.length === 0 ? null : { revision, events },
        ...lie.applied,
      },
    });
    return revision;
  }

  /** One member applies one entry. */
  tell(index: number, request: CommandRequest, said: Partial<Telling>): void {
    const { by = "1", digest = `digest ${index}`, revision = 1, sequence = index } = said;
    const proposal = { member: "1", start: 1, sequence };
    const entry = { data: Command.encode({ request, proposal }).finish() };
    const member: ApplyingMember = {
      id: by,
      node: () => ({ machine: { mvcc: { summary: () => ({ revision, digest }) } } }),
    };
    const applied = { outcome: { type: "none" }, events: null, proposal, ...said.applied } as const;
    this.log.applied(member, { index, term: 1, kind: "normal", ...entry }, applied);
  }
}
