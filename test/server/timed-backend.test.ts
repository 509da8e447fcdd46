import { expect, test } from "vitest";
import { assert } from "../../src/base/assert.ts";
import { timedPlace } from "../../src/server/timed-backend.ts";
import { MemoryPlace } from "../../src/store/memory-backend.ts";
import { FakeClock } from "../sim/fake-clock.ts";

test("timedPlace tells how long each batch took and passes all else through", async () => {
  const clock = new FakeClock();
  const durations: number[] = [];
  const place = timedPlace(new MemoryPlace(), clock, (durationMs) => durations.push(durationMs));
  const opening = await place.open();
  assert(opening.type === "open", "a memory backend opens");
  const { backend } = opening;
  const key = Uint8Array.of(1);
  const writing = backend.write([{ type: "put", key, value: Uint8Array.of(2) }]);
  clock.advance(7);
  await writing;
  expect(durations).toEqual([7]);
  expect(backend.getSync(key)).toEqual(Uint8Array.of(2));
  expect(await backend.diskBytes()).toBeGreaterThanOrEqual(0);
  await backend.close();
});
