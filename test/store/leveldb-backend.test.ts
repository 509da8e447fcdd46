import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { leveldbDefaults, LeveldbPlace } from "../../src/store/leveldb-backend.ts";
import { backendContract, bytes, opened } from "../contract/backend.ts";
import { filesOf, flipBit, freshDirectory } from "./leveldb-directory.ts";

backendContract("LeveldbBackend", async () => new LeveldbPlace(await freshDirectory()));

async function written(directory: string): Promise<void> {
  const backend = await opened(new LeveldbPlace(directory));
  for (let i = 0; i < 200; i++) {
    await backend.write([{ type: "put", key: bytes(`key${i}`), value: bytes("v".repeat(500)) }]);
  }
  await backend.close();
}

test("LeveldbPlace.open calls a bit flipped in the middle of the log damage", async () => {
  const directory = await freshDirectory();
  await written(directory);
  const log = (await filesOf(directory, /\.log$/)).at(-1);
  expect(log).toBeDefined();
  await flipBit(log as string, 0.5);
  const opening = await new LeveldbPlace(directory).open();
  expect(opening).toMatchObject({ type: "damaged" });
  expect(opening.type === "damaged" && opening.reason).toMatch(/LevelDB lost rows/);
  // A process killed between its open and its look at LOG must not hide it from the next.
  expect(await new LeveldbPlace(directory).open()).toMatchObject({ type: "damaged" });
  await rm(directory, { recursive: true });
});

test("LeveldbPlace.open calls a missing CURRENT or MANIFEST damage", async () => {
  for (const pattern of [/^CURRENT$/, /^MANIFEST-/]) {
    const directory = await freshDirectory();
    await written(directory);
    for (const name of await readdir(directory)) {
      if (pattern.test(name)) await rm(join(directory, name));
    }
    expect(await new LeveldbPlace(directory).open()).toMatchObject({ type: "damaged" });
    await rm(directory, { recursive: true });
  }
});

test("LeveldbPlace.open calls a bit flipped in the MANIFEST damage", async () => {
  const directory = await freshDirectory();
  await written(directory);
  await flipBit((await filesOf(directory, /^MANIFEST-/))[0] as string, 0.3);
  expect(await new LeveldbPlace(directory).open()).toMatchObject({ type: "damaged" });
  await rm(directory, { recursive: true });
});

test("LeveldbPlace.open rejects while the directory is in use: that is no damage", async () => {
  const place = new LeveldbPlace(await freshDirectory(), leveldbDefaults);
  const backend = await opened(place);
  await expect(place.open()).rejects.toThrow();
  await backend.close();
  await place.wipe();
});
