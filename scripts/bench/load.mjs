// The load: the same requests to either system. Closed loop: each of `inflight` slots sends its
// next request when its last one is answered. Keys are uniform over keyCount, values random bytes.
import { randomBytes } from "node:crypto";
import { performance } from "node:perf_hooks";
import { H2Connection, headerBlock } from "./h2-connection.mjs";

const pool = randomBytes(1 << 20);
const connectionsMax = 8;

function varint(value) {
  const bytes = [];
  while (value > 127) {
    bytes.push((value & 127) | 128);
    value >>>= 7;
  }
  bytes.push(value);
  return Buffer.from(bytes);
}

function field(number, bytes) {
  return Buffer.concat([Buffer.from([(number << 3) | 2]), varint(bytes.length), bytes]);
}

export function keyOf(number) {
  return Buffer.from(`/bench/${String(number).padStart(8, "0")}`);
}

export function putRequest(key, valueBytes) {
  const start = Math.floor(Math.random() * (pool.length - valueBytes));
  return Buffer.concat([field(1, key), field(2, pool.subarray(start, start + valueBytes))]);
}

export function rangeRequest(key, serializable) {
  return serializable ? Buffer.concat([field(1, key), Buffer.from([7 << 3, 1])]) : field(1, key);
}

/** What a row sends: path, and a maker of request messages. */
export function workload(kind, { keyCount, valueBytes }) {
  const key = () => keyOf(Math.floor(Math.random() * keyCount));
  switch (kind) {
    case "put":
      return { path: "/etcdserverpb.KV/Put", message: () => putRequest(key(), valueBytes) };
    case "linearizable read":
      return { path: "/etcdserverpb.KV/Range", message: () => rangeRequest(key(), false) };
    case "serializable read":
      return { path: "/etcdserverpb.KV/Range", message: () => rangeRequest(key(), true) };
    default:
      throw new Error(`bench: unknown workload ${kind}`);
  }
}

async function openConnections(port, inflight) {
  const count = Math.min(connectionsMax, inflight);
  return Promise.all(Array.from({ length: count }, () => H2Connection.open("127.0.0.1", port)));
}

/** Puts keys 0..keyCount-1 once, 200 in flight. */
export async function preload(port, { keyCount, valueBytes }) {
  const connections = await openConnections(port, 200);
  const headers = headerBlock("/etcdserverpb.KV/Put", `127.0.0.1:${port}`);
  let next = 0;
  const slot = (connection) =>
    new Promise((resolve, reject) => {
      const send = () => {
        if (next === keyCount) return resolve();
        connection.request(headers, putRequest(keyOf(next++), valueBytes), (ok) =>
          ok ? send() : reject(new Error("bench: preload put failed")),
        );
      };
      send();
    });
  await Promise.all(
    Array.from({ length: 200 }, (_, i) => slot(connections[i % connections.length])),
  );
  for (const connection of connections) connection.close();
}

function percentile(sorted, share) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

/** Runs one row for warmMs + runMs; counts only what ended within the second part. */
export async function measure({ port, kind, inflight, keyCount, valueBytes, warmMs, runMs }) {
  const connections = await openConnections(port, inflight);
  const { path, message } = workload(kind, { keyCount, valueBytes });
  const headers = headerBlock(path, `127.0.0.1:${port}`);
  const latencies = [];
  let failures = 0;
  const begin = performance.now() + warmMs;
  const end = begin + runMs;
  const slot = (connection) =>
    new Promise((resolve) => {
      const send = () => {
        const sent = performance.now();
        if (sent >= end) return resolve();
        connection.request(headers, message(), (ok) => {
          const now = performance.now();
          if (now >= begin && now < end) {
            if (ok) latencies.push(now - sent);
            else failures++;
          }
          if (ok) send();
          else setTimeout(send, 10);
        });
      };
      send();
    });
  await Promise.all(
    Array.from({ length: inflight }, (_, i) => slot(connections[i % connections.length])),
  );
  for (const connection of connections) connection.close();
  latencies.sort((left, right) => left - right);
  return {
    perSecond: (latencies.length * 1000) / runMs,
    p50Ms: percentile(latencies, 0.5) ?? null,
    p99Ms: percentile(latencies, 0.99) ?? null,
    failures,
  };
}
