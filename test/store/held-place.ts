// A place that keeps hold of what it opened: to end a process without a flush, and to see batches.
import type {
  Backend,
  BackendOpening,
  BackendOperation,
  BackendPlace,
} from "../../src/store/backend.ts";

export class HeldPlace implements BackendPlace {
  readonly batches: (readonly BackendOperation[])[] = [];
  readonly #place: BackendPlace;
  #backend: Backend | null = null;

  constructor(place: BackendPlace) {
    this.#place = place;
  }

  async open(): Promise<BackendOpening> {
    const opening = await this.#place.open();
    if (opening.type === "damaged") return opening;
    const { backend } = opening;
    this.#backend = backend;
    return { type: "open", backend: recording(backend, this.batches) };
  }

  wipe(): Promise<void> {
    return this.#place.wipe();
  }

  /** What lies below the store: to damage it. */
  backend(): Backend {
    if (this.#backend === null) throw new Error("nothing is open");
    return this.#backend;
  }

  /** What was not flushed is gone. */
  async crash(): Promise<void> {
    await this.#backend?.close();
    this.#backend = null;
  }
}

function recording(backend: Backend, batches: (readonly BackendOperation[])[]): Backend {
  return {
    getSync: (key) => backend.getSync(key),
    write: (operations, options) => {
      batches.push(operations.map(copyOf));
      return backend.write(operations, options);
    },
    snapshot: () => backend.snapshot(),
    diskBytes: () => backend.diskBytes(),
    markDamaged: (reason) => backend.markDamaged(reason),
    close: () => backend.close(),
  };
}

/** The memory of a batch is the store's again when it is written. */
function copyOf(operation: BackendOperation): BackendOperation {
  const key = Uint8Array.from(operation.key);
  return operation.type === "del"
    ? { type: "del", key }
    : { type: "put", key, value: Uint8Array.from(operation.value) };
}
