// Entry of the thread that prepares segments: zeros, slice by slice, with a pause after each slice,
// so that the disk is never theirs for long. It touches no file that holds data.
import { parentPort } from "node:worker_threads";
import { assert } from "../base/assert.ts";
import { nodeFiles } from "./node-files.ts";
import { SegmentPreparer, type Preparation } from "./segment.ts";

export interface PrepareReply {
  readonly error: { readonly message: string; readonly code: string } | null;
}

// 64 slices of 1 MB and their pauses: about a second at most, when 64 MB last three at full load.
const pauseMs = 5;

assert(parentPort !== null, "the preparing thread has no parent");
const port = parentPort;

function answer(reply: PrepareReply): void {
  port.postMessage(reply);
}

function prepare(preparer: SegmentPreparer): void {
  try {
    if (preparer.step()) answer({ error: null });
    else setTimeout(() => prepare(preparer), pauseMs);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    answer({ error: { message, code } });
  }
}

port.on("message", (preparation: Preparation) => {
  prepare(new SegmentPreparer(nodeFiles, preparation));
});
