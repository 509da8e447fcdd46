// The health service, over a real socket.
import { afterEach, describe, expect, test } from "vitest";
import { healthMethods } from "../../src/grpc/health.ts";
import type { HealthSource } from "../../src/grpc/health.ts";
import {
  HealthCheckRequest,
  HealthCheckResponse,
  HealthListResponse,
} from "../../src/proto/grpc/health/v1/health.ts";
import { eventually, openLoopback } from "./loopback-server.ts";
import { frameOf, messagesOf, RawClient } from "./raw-client.ts";

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function open() {
  let isServing = true;
  let wake: () => void = () => {};
  const source: HealthSource = {
    serving: () => isServing,
    changed: (signal) =>
      new Promise((resolve) => {
        wake = resolve;
        signal.addEventListener("abort", () => resolve());
      }),
  };
  const server = await openLoopback(healthMethods(source));
  closers.push(() => server.close());
  const client = await RawClient.connect(server.port);
  closers.push(() => client.close());
  return {
    client,
    server,
    set: (serving: boolean): void => {
      isServing = serving;
      wake();
    },
  };
}

const request = (service: string) => HealthCheckRequest.encode({ service }).finish();

describe("health", () => {
  test("Check follows the source and knows no other service", async () => {
    const { client, set } = await open();
    const check = async () => {
      const { messages } = await client.unary("/grpc.health.v1.Health/Check", request(""));
      return HealthCheckResponse.decode(messages[0] ?? Buffer.alloc(0)).status;
    };
    expect(await check()).toBe(1);
    set(false);
    expect(await check()).toBe(2);
    expect(await client.unary("/grpc.health.v1.Health/Check", request("kv"))).toMatchObject({
      status: 5,
      text: "unknown service",
    });
    const garbage = await client.unary("/grpc.health.v1.Health/Check", Buffer.from([0x0a, 0xff]));
    expect(garbage.status).toBe(13);
  });

  test("List gives the one service", async () => {
    const { client } = await open();
    const { messages } = await client.unary("/grpc.health.v1.Health/List", Buffer.alloc(0));
    expect(HealthListResponse.decode(messages[0] ?? Buffer.alloc(0)).statuses).toEqual({
      "": { status: 1 },
    });
  });

  test("Watch reports the status at once and then each change", async () => {
    const { client, server, set } = await open();
    const call = client.open("/grpc.health.v1.Health/Watch").send(frameOf(request("")));
    call.halfClose();
    const chunks: Buffer[] = [];
    call.stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    const statuses = () =>
      messagesOf(Buffer.concat(chunks)).map((bytes) => HealthCheckResponse.decode(bytes).status);
    await eventually(() => statuses().length === 1, "the first status");
    set(true);
    set(false);
    await eventually(() => statuses().length === 2, "the change");
    expect(statuses()).toEqual([1, 2]);
    call.reset();
    await eventually(() => server.finished.length === 1, "the end");
  });

  test("Watch of an unknown service says so and stays open", async () => {
    const { client, server } = await open();
    const call = client.open("/grpc.health.v1.Health/Watch").send(frameOf(request("kv")));
    call.halfClose();
    await eventually(() => call.receivedBytes === 7, "the status");
    expect(server.finished).toEqual([]);
    call.reset();
    expect((await call.answer()).messages.map((bytes) => bytes[1])).toEqual([3]);
  });
});
