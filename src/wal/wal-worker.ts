// Entry of the log's thread: the body over the machine's disk. Synchronous calls block only this
// thread. Between two batches it returns to its event loop, so that requests which came during a
// sync are gathered and a segment that was prepared is taken note of.
//
// Segments are prepared in a further thread, so that their zeros never stand before a batch (W1).
import { parentPort, receiveMessageOnPort, Worker, workerData } from "node:worker_threads";
import { assert } from "../base/assert.ts";
import { nodeFiles } from "./node-files.ts";
import type { PrepareReply } from "./prepare-worker.ts";
import { WalBody, type WalBodyDeps } from "./wal-body.ts";
import type { WalReply, WalRequest, WalStart } from "./wal-message.ts";

assert(parentPort !== null, "the log's thread has no parent");
const port = parentPort;

const memoryOf = (bytes: Uint8Array): ArrayBuffer => bytes.buffer as ArrayBuffer;

const post = (reply: WalReply): void => {
  if (reply.type === "records") port.postMessage(reply, [reply.records.buffer as ArrayBuffer]);
  else if (reply.type === "synced") port.postMessage(reply, reply.spent.map(memoryOf));
  else port.postMessage(reply);
};

type Answer = Parameters<WalBodyDeps["prepare"]>[1];

let preparer: Worker | null = null;
let answer: Answer | null = null;

function startPreparer(): Worker {
  const worker = new Worker(new URL("./prepare-worker.js", import.meta.url));
  worker.on("message", (reply: PrepareReply) => {
    const current = answer;
    answer = null;
    if (reply.error === null) current?.done();
    else current?.failed(Object.assign(new Error(reply.error.message), { code: reply.error.code }));
  });
  worker.on("error", (error) => answer?.failed(error));
  return worker;
}

const body = new WalBody(
  {
    files: nodeFiles,
    post,
    now: () => performance.now(),
    prepare(preparation, given) {
      preparer ??= startPreparer();
      answer = given;
      preparer.postMessage(preparation, []);
    },
  },
  workerData as WalStart,
);

let isScheduled = false;

function gather(): void {
  for (;;) {
    const received: { message: WalRequest } | undefined = receiveMessageOnPort(port);
    if (received === undefined) return;
    body.push(received.message);
  }
}

function turn(): void {
  isScheduled = false;
  gather();
  const hasMore = body.turn();
  if (hasMore && !isScheduled) {
    isScheduled = true;
    setImmediate(turn);
  }
}

port.on("message", (request: WalRequest) => {
  body.push(request);
  if (!isScheduled) turn();
});
