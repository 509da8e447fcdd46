import { expect, test } from "vitest";
import { emptyImage, MemoryBackend, MemoryPlace } from "../../src/store/memory-backend.ts";
import { backendContract, bytes } from "../contract/backend.ts";

backendContract("MemoryBackend", () => Promise.resolve(new MemoryPlace(emptyImage)));

test("MemoryBackend.image is what a crash at that moment leaves", async () => {
  const backend = new MemoryBackend();
  await backend.write([{ type: "put", key: bytes("a"), value: bytes("1") }]);
  const image = backend.image();
  await backend.write([{ type: "put", key: bytes("a"), value: bytes("2") }]);
  expect(new MemoryBackend(image).getSync(bytes("a"))).toEqual(bytes("1"));
});
