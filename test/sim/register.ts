// A few keys that only single calls touch: puts, reads and compare-and-swap. Small enough for the
// search that knows nothing of revisions (linearizability.ts), one key at a time.
import { checkLinearizable } from "./linearizability.ts";
import type { Call, Model, Verdict } from "./linearizability.ts";

export type RegisterInput =
  | { readonly type: "write"; readonly value: string }
  | { readonly type: "read" }
  | { readonly type: "swap"; readonly from: string; readonly to: string };

/** Of a read the value, of a swap whether it was done. Null value: no such key. */
export type RegisterOutput =
  | { readonly type: "written" }
  | { readonly type: "value"; readonly value: string | null }
  | { readonly type: "swapped"; readonly done: boolean };

export type RegisterCall = Call<RegisterInput, RegisterOutput>;

export const registerModel: Model<string | null, RegisterInput, RegisterOutput> = {
  initial: null,
  step(state, input, output) {
    switch (input.type) {
      case "write":
        return input.value;
      case "read": {
        if (output === null) return state;
        return output.type === "value" && output.value === state ? state : undefined;
      }
      case "swap": {
        const isDone = state === input.from;
        if (output !== null && (output.type !== "swapped" || output.done !== isDone)) {
          return undefined;
        }
        return isDone ? input.to : state;
      }
    }
  },
  key: (state) => state ?? "",
};

export function checkRegister(calls: readonly RegisterCall[]): Verdict {
  // A read that nobody learned of says nothing.
  const telling = calls.filter(({ input, output }) => input.type !== "read" || output !== null);
  return checkLinearizable(telling, registerModel);
}
