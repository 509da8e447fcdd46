// A backend whose batches are timed, for the metrics; all else passes through.
import type { Clock } from "../base/clock.ts";
import type { Backend, BackendPlace } from "../store/backend.ts";

/** `written` is told how long each batch took. */
export function timedPlace(
  place: BackendPlace,
  clock: Clock,
  written: (durationMs: number) => void,
): BackendPlace {
  return {
    async open() {
      const opening = await place.open();
      if (opening.type !== "open") return opening;
      return { type: "open", backend: timed(opening.backend, clock, written) };
    },
    wipe: () => place.wipe(),
  };
}

function timed(backend: Backend, clock: Clock, written: (durationMs: number) => void): Backend {
  return {
    getSync: (key) => backend.getSync(key),
    async write(operations, options) {
      const started = clock.now();
      await backend.write(operations, options);
      written(clock.now() - started);
    },
    snapshot: () => backend.snapshot(),
    diskBytes: () => backend.diskBytes(),
    markDamaged: (reason) => backend.markDamaged(reason),
    close: () => backend.close(),
  };
}
