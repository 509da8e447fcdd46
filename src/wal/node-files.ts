// The disk of the machine: Files on node:fs, synchronous calls only (rule J4). It retries nothing
// but short writes; an error of the system comes out as node threw it, with its code.
import {
  closeSync,
  constants,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readSync,
  readdirSync,
  renameSync,
  rmdirSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { dirname, resolve } from "node:path";
import { assert } from "../base/assert.ts";
import type { Files } from "./files.ts";

const { O_CREAT, O_DIRECTORY, O_EXCL, O_RDONLY, O_RDWR } = constants;

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

export const nodeFiles: Files = {
  open(path, how) {
    return openSync(path, how === "create" ? O_RDWR | O_CREAT | O_EXCL : O_RDWR, 0o600);
  },
  close(file) {
    closeSync(file);
  },
  write(file, bytes, position) {
    let done = 0;
    while (done < bytes.length) {
      const count = writeSync(file, bytes, done, bytes.length - done, position + done);
      assert(count > 0, "a write to a file made no progress");
      done += count;
    }
  },
  sync(file) {
    fdatasyncSync(file);
  },
  read(file, target, position) {
    let done = 0;
    while (done < target.length) {
      const count = readSync(file, target, done, target.length - done, position + done);
      if (count === 0) break;
      done += count;
    }
    return done;
  },
  size(file) {
    return fstatSync(file).size;
  },
  truncate(file, size) {
    ftruncateSync(file, size);
  },
  rename(from, to) {
    renameSync(from, to);
  },
  unlink(path) {
    unlinkSync(path);
  },
  makeDirectory(path) {
    const full = resolve(path);
    const firstMade = mkdirSync(full, { mode: 0o700, recursive: true }) ?? full;
    // The lowest name is made durable also when an earlier process made it and died.
    for (let made = full; made.length >= firstMade.length; made = dirname(made)) {
      this.syncDirectory(dirname(made));
    }
  },
  removeDirectory(path) {
    rmdirSync(path);
  },
  syncDirectory(path) {
    const directory = openSync(path, O_RDONLY | O_DIRECTORY);
    try {
      fsyncSync(directory);
    } finally {
      closeSync(directory);
    }
  },
  list(path) {
    try {
      return readdirSync(path).sort();
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  },
};
