// One process per data directory (fault P14): a flock on DIR/lock, held as long as the file stays
// open, and let go by the kernel however the process ends.
//
// Node has no call for it. The `flock` command has: it is given our open file as its descriptor 3
// and locks it; the lock belongs to the open file, not to the command, so it stays when the command
// ends. What was not taken, and why: a file with the owner's pid goes stale at every kill -9, and a
// pid proves nothing when two containers share a volume; a socket in the directory needs a server
// and does not work on every file system. `flock` is in every Debian, Fedora and Alpine (util-linux,
// busybox). The owner's pid is written into the file for the message alone.
import { spawnSync } from "node:child_process";
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { nodeFiles } from "./node-files.ts";
import { WalError } from "./wal-error.ts";

const lockName = "lock";
/** A conflict's exit code: util-linux and busybox agree. */
const conflict = 1;

export interface DirectoryLock {
  release(): void;
}

/** Makes the directory when it is not there. Throws WalError "inUse" when another holds it. */
export function lockDirectory(directory: string): DirectoryLock {
  nodeFiles.makeDirectory(directory);
  const path = `${directory}/${lockName}`;
  const file = openSync(path, "a+", 0o600);
  try {
    takeLock(path, file);
  } catch (error) {
    closeSync(file);
    throw error;
  }
  ftruncateSync(file, 0);
  writeSync(file, `pid ${process.pid}\n`);
  return {
    release() {
      closeSync(file);
    },
  };
}

function takeLock(path: string, file: number): void {
  const { status, error, stderr } = spawnSync("flock", ["-n", "3"], {
    stdio: ["ignore", "ignore", "pipe", file],
    encoding: "utf8",
  });
  if (status === 0) return;
  if (error !== undefined) {
    throw new WalError(
      "lock",
      `cannot lock ${path}: the flock command does not run (${error.message}); ` +
        "install util-linux or busybox",
    );
  }
  if (status !== conflict) {
    throw new WalError("lock", `cannot lock ${path}: ${stderr.trim()}`);
  }
  const owner = readFileSync(path, "latin1").trim();
  throw new WalError(
    "inUse",
    `${path} is held by another process (${owner === "" ? "unknown" : owner}): the data directory ` +
      "is in use; stop that process, or name another directory",
  );
}
