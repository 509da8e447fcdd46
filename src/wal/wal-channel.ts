// The way to the log's body: a worker thread over the machine's disk, or this thread over any
// Files. The second is for tests and the simulator, and for TypeScript sources, which a worker
// thread cannot run. Both answer later, never within the call.
import { Worker } from "node:worker_threads";
import type { Files } from "./files.ts";
import { SegmentPreparer, type Preparation } from "./segment.ts";
import { WalBody } from "./wal-body.ts";
import type { WalReply, WalRequest, WalStart } from "./wal-message.ts";

export interface WalChannel {
  /** From now on replies go there; set once before the first reply, and again when opened. */
  listen(listener: WalListener): void;
  /** `give` are buffers that the receiver owns from now on. */
  post(request: WalRequest, give: readonly ArrayBuffer[]): void;
  /** Ends the other side. */
  end(): Promise<void>;
}

export interface WalListener {
  reply(reply: WalReply): void;
  /** The other side died. */
  died(error: Error): void;
}

const nobody: WalListener = { reply() {}, died() {} };

export function startWorker(start: WalStart): WalChannel {
  let listener = nobody;
  // Nearly nothing there lives long: with more room it would only be collected later.
  const worker = new Worker(new URL("./wal-worker.js", import.meta.url), {
    workerData: start,
    resourceLimits: { maxYoungGenerationSizeMb: 3 },
  });
  let isEnding = false;
  worker.on("message", (reply: WalReply) => listener.reply(reply));
  worker.on("error", (error) => listener.died(error));
  worker.on("exit", (code) => {
    if (!isEnding) listener.died(new Error(`the log's thread ended with code ${code}`));
  });
  return {
    listen(to) {
      listener = to;
    },
    post(request, give) {
      worker.postMessage(request, give);
    },
    async end() {
      isEnding = true;
      await worker.terminate();
    },
  };
}

export function startInThread(files: Files, start: WalStart): WalChannel {
  let listener = nobody;
  let isEnded = false;
  let body: WalBody | null = null;
  let isScheduled = false;
  const turn = (): void => {
    isScheduled = false;
    if (!isEnded && body?.turn() === true) schedule();
  };
  const schedule = (): void => {
    if (isScheduled) return;
    isScheduled = true;
    setImmediate(turn);
  };
  setImmediate(() => {
    body = new WalBody(
      {
        files,
        post: (reply) => listener.reply(reply),
        // Nobody measures a batch here.
        now: () => 0,
        prepare: (preparation, answer) => prepareInTurns(files, preparation, answer),
      },
      start,
    );
  });
  return {
    listen(to) {
      listener = to;
    },
    post(request) {
      body?.push(request);
      schedule();
    },
    end() {
      isEnded = true;
      return Promise.resolve();
    },
  };
}

function prepareInTurns(
  files: Files,
  preparation: Preparation,
  answer: { done: () => void; failed: (error: Error) => void },
): void {
  const preparer = new SegmentPreparer(files, preparation);
  const step = (): void => {
    let isDone = false;
    try {
      isDone = preparer.step();
    } catch (error) {
      answer.failed(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    if (isDone) answer.done();
    else setImmediate(step);
  };
  setImmediate(step);
}
