// What the health endpoints ask of the node: whether it has a leader, and whether it can read. A
// read is a real one, of any key, through the same barrier as a client's.
import type { CallLimits } from "./call-limits.ts";
import { RangeRequest } from "../proto/etcdserverpb/kv.ts";
import type { RangeResponse } from "../proto/etcdserverpb/kv.ts";

/** The part of the node that is asked. */
export interface ProbedNode {
  status(): { readonly leader: string | null; readonly isLearner: boolean };
  barrier(limits: CallLimits): Promise<void>;
  range(request: RangeRequest): Promise<RangeResponse>;
}

const anyKey = RangeRequest.fromPartial({ key: Uint8Array.of(0), limit: 1, keysOnly: true });
/** The node's own request timeout bounds a probe. */
const limits: CallLimits = { deadline: Infinity, signal: new AbortController().signal };

export class HealthProbe {
  readonly #node: ProbedNode;

  constructor(node: ProbedNode) {
    this.#node = node;
  }

  /** None is ever raised: there is no quota, and damage ends the process. */
  alarms(): readonly string[] {
    return [];
  }

  hasLeader(): boolean {
    return this.#node.status().leader !== null;
  }

  isLearner(): boolean {
    return this.#node.status().isLearner;
  }

  async read(kind: "linearizable" | "serializable"): Promise<void> {
    if (kind === "linearizable") await this.#node.barrier(limits);
    await this.#node.range(anyKey);
  }
}
