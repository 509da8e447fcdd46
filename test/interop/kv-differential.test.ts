// The same requests to real etcd (Debian's) and to the handlers here: the answers must be equal,
// field by field and text by text, the identifiers of header apart. Each known difference is a row.
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, credentials } from "@grpc/grpc-js";
import type { ServiceError } from "@grpc/grpc-js";
import * as fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Codec } from "../../src/api/call.ts";
import { checkDuplicateKeys } from "../../src/api/duplicate-keys.ts";
import { RequestError } from "../../src/base/errors.ts";
import {
  CompactionRequest,
  CompactionResponse,
  DeleteRangeRequest,
  DeleteRangeResponse,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  TxnRequest,
  TxnResponse,
} from "../../src/proto/etcdserverpb/kv.ts";
import {
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseRevokeRequest,
  LeaseRevokeResponse,
} from "../../src/proto/etcdserverpb/lease.ts";
import { callBytes, startOneMember, testOptions } from "../api/one-member.ts";
import {
  deleteRangeRequests,
  putRequests,
  rangeRequests,
  txnRequests,
} from "../api/request-arbitraries.ts";
import { until } from "../e2e/processes.ts";

interface Call {
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly decode: (bytes: Uint8Array) => unknown;
}

type Answer = { readonly error: string; readonly status: number } | { readonly response: unknown };

/** What etcd and this program answer differently, each for its reason. */
const differences: readonly ((etcd: Answer, ours: Answer, path: string) => boolean)[] = [
  // 3.4 looks for faults of puts before those of ranges; 3.7, and this program, in order.
  (etcd, ours, path) => path.endsWith("/Txn") && "error" in etcd && "error" in ours,
];

function callOf<Request, Response>(
  path: string,
  codecs: { request: Codec<Request>; response: Codec<Response> },
  requests: fc.Arbitrary<Request>,
): fc.Arbitrary<Call> {
  return requests.map((request) => ({
    path: `/etcdserverpb.${path}`,
    bytes: codecs.request.encode(request).finish(),
    decode: (bytes) => codecs.response.decode(bytes),
  }));
}

/** Stricter here: a put in a nested transaction that a later nested one deletes. */
function hasNoDuplicates({ success, failure }: TxnRequest): boolean {
  try {
    checkDuplicateKeys(success);
    checkDuplicateKeys(failure);
    return true;
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    return false;
  }
}

const leaseIds = fc.constantFrom("1", "7", "9223372036854775807", "-9223372036854775808");
const revisions = fc.integer({ min: -1, max: 60 });
const calls = fc.oneof(
  {
    weight: 5,
    arbitrary: callOf("KV/Put", { request: PutRequest, response: PutResponse }, putRequests),
  },
  {
    weight: 2,
    arbitrary: callOf(
      "KV/DeleteRange",
      { request: DeleteRangeRequest, response: DeleteRangeResponse },
      deleteRangeRequests,
    ),
  },
  {
    weight: 8,
    arbitrary: callOf(
      "KV/Txn",
      { request: TxnRequest, response: TxnResponse },
      txnRequests.filter(hasNoDuplicates),
    ),
  },
  {
    weight: 4,
    arbitrary: callOf(
      "KV/Range",
      { request: RangeRequest, response: RangeResponse },
      rangeRequests,
    ),
  },
  {
    weight: 1,
    arbitrary: callOf(
      "KV/Compact",
      { request: CompactionRequest, response: CompactionResponse },
      revisions.map((revision) => ({ revision, physical: false })),
    ),
  },
  {
    weight: 2,
    arbitrary: callOf(
      "Lease/LeaseGrant",
      { request: LeaseGrantRequest, response: LeaseGrantResponse },
      leaseIds.map((ID) => ({ ID, TTL: 500 })),
    ),
  },
  {
    weight: 1,
    arbitrary: callOf(
      "Lease/LeaseRevoke",
      { request: LeaseRevokeRequest, response: LeaseRevokeResponse },
      leaseIds.map((ID) => ({ ID })),
    ),
  },
);

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

let folder: string;
let etcd: ChildProcess;
let client: Client;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "keelson-etcd-"));
  const clientUrl = `http://127.0.0.1:${await freePort()}`;
  const peerUrl = `http://127.0.0.1:${await freePort()}`;
  const flags = [
    ["data-dir", join(folder, "etcd")],
    ["listen-client-urls", clientUrl],
    ["advertise-client-urls", clientUrl],
    ["listen-peer-urls", peerUrl],
    ["initial-advertise-peer-urls", peerUrl],
    ["initial-cluster", `default=${peerUrl}`],
    ["max-txn-ops", String(testOptions.txnOpsMax)],
  ];
  etcd = spawn(
    "etcd",
    flags.map(([name, value]) => `--${name}=${value}`),
    { stdio: "ignore" },
  );
  client = new Client(clientUrl.slice("http://".length), credentials.createInsecure());
  const isReady = async () => (await fetch(`${clientUrl}/health`)).ok || undefined;
  await until("etcd to answer", 20_000, isReady);
});

afterAll(async () => {
  client.close();
  const ended = new Promise((resolve) => etcd.once("exit", resolve));
  etcd.kill("SIGKILL");
  await ended;
  rmSync(folder, { recursive: true, force: true });
});

function askEtcd({ path, bytes }: Call): Promise<Uint8Array> {
  const same = (message: Uint8Array): Buffer => Buffer.from(message);
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, same, same, bytes, (error: ServiceError | null, answer) => {
      if (error === null && answer !== undefined) resolve(answer);
      else reject(error);
    });
  });
}

async function answerOf(call: Call, ask: () => Promise<Uint8Array>): Promise<Answer> {
  try {
    return { response: plain(call.decode(await ask())) };
  } catch (error) {
    if (error instanceof RequestError) return { error: error.message, status: error.status };
    const { details, code } = error as ServiceError;
    return { error: details, status: code };
  }
}

/** As text that can be compared: bytes in hex, headers with their revision only. */
function plain(value: unknown): unknown {
  const own = new Set(["clusterId", "memberId", "raftTerm"]);
  const hex = (_key: string, part: unknown): unknown =>
    part instanceof Uint8Array ? Buffer.from(part).toString("hex") : part;
  const withoutBuffers = structuredClone(value);
  return JSON.parse(
    JSON.stringify(withoutBuffers, (key, part) => (own.has(key) ? undefined : hex(key, part))),
  );
}

test("3,000 random calls have the same answers from etcd and from here", async () => {
  const cluster = await startOneMember();
  const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));
  for (const [i, call] of fc.sample(calls, { numRuns: 3000, seed }).entries()) {
    const theirs = await answerOf(call, () => askEtcd(call));
    const ours = await answerOf(call, () => callBytes(cluster, call.path, call.bytes));
    if (differences.some((isKnown) => isKnown(theirs, ours, call.path))) continue;
    expect(ours, `SEED=${seed}, call ${i}: ${call.path}`).toEqual(theirs);
  }
}, 120_000);
