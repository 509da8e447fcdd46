// Calls in words, numbers as wide as the wire has them:
//   SERVICE/METHOD field=value ...    keys and values as text, "*" the byte 0, numbers in 64 bits
//   ----
//   the response as JSON without cluster and member, or: error CODE TEXT
// Also: "leaderless" takes the leader away.
import { fromBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { FieldDescriptorProto_Type, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import type { DescriptorProto } from "@bufbuild/protobuf/wkt";
import { describe } from "vitest";
import type { MethodTable } from "../../src/api/method.ts";
import { serviceTable } from "../../src/api/services.ts";
import { RequestError } from "../../src/base/errors.ts";
import { Prng } from "../../src/base/prng.ts";
import { fileDescriptorSetBase64 } from "../../src/proto/descriptors.ts";
import { MemberListResponse } from "../../src/proto/etcdserverpb/cluster.ts";
import * as kv from "../../src/proto/etcdserverpb/kv.ts";
import * as lease from "../../src/proto/etcdserverpb/lease.ts";
import { AlarmResponse } from "../../src/proto/etcdserverpb/maintenance.ts";
import { SimCluster } from "../sim/cluster.ts";
import { testTranscripts } from "../transcript.ts";
import type { TranscriptRun } from "../transcript.ts";
import { callBytes, callStream, startOneMember, testOptions } from "./one-member.ts";

const set = fromBinary(FileDescriptorSetSchema, Buffer.from(fileDescriptorSetBase64, "base64"));

/** By service and method, the request's descriptor. */
const requests = new Map<string, DescriptorProto>();
for (const file of set.file) {
  for (const service of file.service) {
    for (const { name, inputType } of service.method) {
      const short = inputType.split(".").at(-1);
      const messages = set.file.flatMap(({ messageType }) => messageType);
      const request = messages.find((message) => message.name === short);
      if (request !== undefined) requests.set(`${service.name}/${name}`, request);
    }
  }
}

const responses: Readonly<Record<string, { decode(bytes: Uint8Array): unknown }>> = {
  "KV/Range": kv.RangeResponse,
  "KV/RangeStream": kv.RangeStreamResponse,
  "KV/Put": kv.PutResponse,
  "KV/DeleteRange": kv.DeleteRangeResponse,
  "KV/Txn": kv.TxnResponse,
  "KV/Compact": kv.CompactionResponse,
  "Lease/LeaseGrant": lease.LeaseGrantResponse,
  "Lease/LeaseRevoke": lease.LeaseRevokeResponse,
  "Lease/LeaseKeepAlive": lease.LeaseKeepAliveResponse,
  "Lease/LeaseTimeToLive": lease.LeaseTimeToLiveResponse,
  "Cluster/MemberList": MemberListResponse,
  "Maintenance/Alarm": AlarmResponse,
};

function requestBytes(method: string, args: readonly string[]): Uint8Array {
  const writer = new BinaryWriter();
  for (const arg of args) {
    const [name = "", value = ""] = arg.split("=");
    const field = requests.get(method)?.field.find((one) => one.name === name);
    if (field === undefined) throw new Error(`${method} has no field ${name}`);
    if (field.type === FieldDescriptorProto_Type.BYTES) {
      const bytes = Buffer.from(value === "*" ? "\0" : value);
      writer.tag(field.number, WireType.LengthDelimited).bytes(bytes);
    } else {
      writer.tag(field.number, WireType.Varint).int64(value === "true" ? 1 : value);
    }
  }
  return writer.finish();
}

/** What is not zero, in one line. */
function responseText(response: unknown): string {
  const hidden = new Set(["clusterId", "memberId", "raftTerm"]);
  return JSON.stringify(structuredClone(response), (name, part: unknown) => {
    if (part instanceof Uint8Array) return Buffer.from(part).toString() || undefined;
    const isZero = part === 0 || part === "0" || part === "" || part === false;
    return hidden.has(name) || isZero ? undefined : part;
  });
}

/** What a transcript is run against. */
interface Served {
  readonly methods: MethodTable;
  /** Until the leader is known to be gone. */
  readonly loseLeader: () => Promise<void>;
  /** Lets happen what the call waits for. */
  readonly result: <T>(call: Promise<T>) => Promise<T>;
}

function runOn({ methods, loseLeader, result }: Served): TranscriptRun {
  return async (method, args) => {
    if (method === "leaderless") {
      await loseLeader();
      return "";
    }
    const path = `/etcdserverpb.${method}`;
    const bytes = requestBytes(method, args);
    const decode = (answer: Uint8Array): string => responseText(responses[method]?.decode(answer));
    try {
      if (methods.get(path)?.kind === "unary") {
        return decode(await result(callBytes({ methods }, path, bytes)));
      }
      return (await result(callStream({ methods }, path, [bytes]))).map(decode).join("\n");
    } catch (error) {
      if (error instanceof RequestError) return `error ${error.status} ${error.message}`;
      throw error;
    }
  };
}

describe("on one member that applies at once", () => {
  testTranscripts("api", async () => {
    const { node, methods } = await startOneMember();
    const loseLeader = async (): Promise<void> => void (node.leader = null);
    return runOn({ methods, loseLeader, result: (call) => call });
  });
});

// The same answers from real nodes hold the first form to the truth.
describe("on a follower of three simulated members", () => {
  testTranscripts("api", async () => {
    const cluster = await SimCluster.start({ size: 3, seed: 1 });
    const leader = await cluster.elected();
    await cluster.converged();
    const [follower, other] = cluster.followers();
    if (follower === undefined || other === undefined) throw new Error("there are two followers");
    const node = follower.node();
    const dbBytes = () => Promise.resolve(0);
    const deps = { node, clock: cluster.clock, random: new Prng(1), dbBytes };
    const loseLeader = async (): Promise<void> => {
      leader.crash();
      other.crash();
      await cluster.until(() => node.status().leader === null);
    };
    const result = <T>(call: Promise<T>): Promise<T> => cluster.result(call);
    return runOn({ methods: serviceTable(deps, testOptions), loseLeader, result });
  });
});
