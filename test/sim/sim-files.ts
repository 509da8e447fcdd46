// The disk in memory, with what a disk may do to a log: two images of every file and directory,
// cached and durable, and a crash that keeps any subset of the 512-byte sectors and names that were
// not synced. Files of src/wal run on it unchanged. Nothing here is random: the caller chooses.
//
//   write ──► cached, sector dirty ──sync──► durable          name ──► cached ──syncDirectory──► durable
//   afterCrash(survives): each dirty sector, size and name change survives or not (power lost)
//   restart(): all that is cached stays, and stays unsynced (only the process died)
//
// A failed sync marks its sectors clean without making them durable: later syncs then succeed and
// prove nothing, as on Linux (fault D8).
import { assert } from "../../src/base/assert.ts";
import type { FileId, Files } from "../../src/wal/files.ts";

const sectorBytes = 512;

/** What is about to change the disk; reads are not counted. */
export interface SimOperation {
  readonly name:
    | "create"
    | "write"
    | "sync"
    | "read"
    | "truncate"
    | "rename"
    | "unlink"
    | "makeDirectory"
    | "removeDirectory"
    | "syncDirectory";
  readonly path: string;
}

/** Thrown at the chosen step: power is gone. */
export class SimCrash extends Error {
  override readonly name = "SimCrash";
}

interface FileNode {
  readonly kind: "file";
  cached: Uint8Array;
  durable: Uint8Array;
  readonly dirty: Set<number>;
}

/** One atomic change of names in a directory; null removes. */
type NameChange = readonly { readonly name: string; readonly node: SimNode | null }[];

interface DirectoryNode {
  readonly kind: "directory";
  cached: Map<string, SimNode>;
  durable: Map<string, SimNode>;
  pending: NameChange[];
}

type SimNode = FileNode | DirectoryNode;

/** Whether one unsynced change is on the disk after the crash. */
export type Survives = () => boolean;

function newFile(content: Uint8Array): FileNode {
  return { kind: "file", cached: content.slice(), durable: content.slice(), dirty: new Set() };
}

function newDirectory(entries: Map<string, SimNode>): DirectoryNode {
  return { kind: "directory", cached: new Map(entries), durable: entries, pending: [] };
}

function resized(bytes: Uint8Array, size: number): Uint8Array {
  if (bytes.length === size) return bytes;
  const copy = new Uint8Array(size);
  copy.set(bytes.subarray(0, size));
  return copy;
}

export class SimFiles implements Files {
  #root: DirectoryNode;
  readonly #open = new Map<FileId, { path: string; node: FileNode }>();
  #nextFile = 1;
  #steps = 0;
  #isDown = false;
  /** The step at which power goes, before it takes effect. */
  crashAtStep = Infinity;
  /** An error code makes the operation fail. */
  fault: (operation: SimOperation) => string | null = () => null;

  constructor() {
    this.#root = newDirectory(new Map());
  }

  /** Steps that changed the disk so far. */
  steps(): number {
    return this.#steps;
  }

  /** The disk that a new process finds after a power loss. This one stays as it is. */
  afterCrash(survives: Survives): SimFiles {
    const files = new SimFiles();
    files.#root = crashedDirectory(this.#root, survives, new Map());
    return files;
  }

  /** The process died, the machine did not: nothing is lost, and nothing became durable. */
  restart(): void {
    this.#open.clear();
    this.#isDown = false;
    this.crashAtStep = Infinity;
    this.fault = () => null;
  }

  /** A file's cached bytes, to look at or to damage. */
  content(path: string): Uint8Array {
    return this.#file(path).cached;
  }

  /** Puts a file there, durable; for tests that damage a disk. */
  plant(path: string, content: Uint8Array): void {
    const { directory, name } = this.#parent(path);
    const node = newFile(content);
    directory.cached.set(name, node);
    directory.durable.set(name, node);
  }

  /** All files' paths with their bytes: to compare disks. */
  *walk(): Generator<{ path: string; content: Uint8Array }> {
    yield* walkDirectory(this.#root, "");
  }

  open(path: string, how: "existing" | "create"): FileId {
    this.#checkUp();
    if (how === "create") this.#create(path);
    const id = this.#nextFile++;
    this.#open.set(id, { path, node: this.#file(path) });
    return id;
  }

  close(file: FileId): void {
    this.#open.delete(file);
  }

  write(file: FileId, bytes: Uint8Array, position: number): void {
    const { path, node } = this.#opened(file);
    this.#step({ name: "write", path });
    const end = position + bytes.length;
    if (end > node.cached.length) node.cached = resized(node.cached, end);
    node.cached.set(bytes, position);
    const last = Math.ceil(end / sectorBytes);
    for (let s = Math.floor(position / sectorBytes); s < last; s++) node.dirty.add(s);
  }

  sync(file: FileId): void {
    const { path, node } = this.#opened(file);
    try {
      this.#step({ name: "sync", path });
    } catch (error) {
      if (!(error instanceof SimCrash)) node.dirty.clear();
      throw error;
    }
    keepSectors(node, [...node.dirty]);
    node.durable = resized(node.durable, node.cached.length);
    node.dirty.clear();
  }

  read(file: FileId, target: Uint8Array, position: number): number {
    const { path, node } = this.#opened(file);
    this.#fail({ name: "read", path });
    const part = node.cached.subarray(position, position + target.length);
    target.set(part);
    return part.length;
  }

  size(file: FileId): number {
    return this.#opened(file).node.cached.length;
  }

  truncate(file: FileId, size: number): void {
    const { path, node } = this.#opened(file);
    this.#step({ name: "truncate", path });
    node.cached = resized(node.cached, size);
    for (const sector of node.dirty) if (sector * sectorBytes >= size) node.dirty.delete(sector);
  }

  rename(from: string, to: string): void {
    this.#step({ name: "rename", path: from });
    const source = this.#parent(from);
    const target = this.#parent(to);
    assert(source.directory === target.directory, "a rename between directories");
    const node = source.directory.cached.get(source.name);
    if (node === undefined) throw systemError("ENOENT", from);
    this.#change(source.directory, [
      { name: source.name, node: null },
      { name: target.name, node },
    ]);
  }

  unlink(path: string): void {
    this.#step({ name: "unlink", path });
    this.#file(path);
    const { directory, name } = this.#parent(path);
    this.#change(directory, [{ name, node: null }]);
  }

  makeDirectory(path: string): void {
    const above = path.slice(0, path.lastIndexOf("/"));
    if (this.#find(path)?.kind !== "directory") {
      if (above !== "") this.makeDirectory(above);
      this.#step({ name: "makeDirectory", path });
      const { directory, name } = this.#parent(path);
      this.#change(directory, [{ name, node: newDirectory(new Map()) }]);
    }
    this.syncDirectory(above);
  }

  removeDirectory(path: string): void {
    this.#step({ name: "removeDirectory", path });
    const { directory, name } = this.#parent(path);
    if (this.#directory(path).cached.size > 0) throw systemError("ENOTEMPTY", path);
    this.#change(directory, [{ name, node: null }]);
  }

  syncDirectory(path: string): void {
    this.#step({ name: "syncDirectory", path });
    const directory = this.#directory(path);
    directory.durable = new Map(directory.cached);
    directory.pending = [];
  }

  list(path: string): string[] | null {
    this.#checkUp();
    const node = this.#find(path);
    return node?.kind === "directory" ? [...node.cached.keys()].sort() : null;
  }

  #create(path: string): void {
    this.#step({ name: "create", path });
    if (this.#find(path) !== null) throw systemError("EEXIST", path);
    const { directory, name } = this.#parent(path);
    this.#change(directory, [{ name, node: newFile(new Uint8Array(0)) }]);
  }

  #change(directory: DirectoryNode, change: NameChange): void {
    applyNames(directory.cached, change);
    directory.pending.push(change);
  }

  #step(operation: SimOperation): void {
    this.#checkUp();
    if (this.#steps >= this.crashAtStep) {
      this.#isDown = true;
      throw new SimCrash(`power lost before ${operation.name} of ${operation.path}`);
    }
    this.#steps++;
    this.#fail(operation);
  }

  #fail(operation: SimOperation): void {
    const code = this.fault(operation);
    if (code !== null) throw systemError(code, `${operation.name} ${operation.path}`);
  }

  #checkUp(): void {
    if (this.#isDown) throw new SimCrash("the power is off");
  }

  #opened(file: FileId): { path: string; node: FileNode } {
    this.#checkUp();
    const opened = this.#open.get(file);
    assert(opened !== undefined, "a file that is not open");
    return opened;
  }

  #find(path: string): SimNode | null {
    let node: SimNode = this.#root;
    for (const part of path.split("/").filter((name) => name !== "")) {
      if (node.kind !== "directory") return null;
      const next: SimNode | undefined = node.cached.get(part);
      if (next === undefined) return null;
      node = next;
    }
    return node;
  }

  #file(path: string): FileNode {
    const node = this.#find(path);
    if (node?.kind !== "file") throw systemError("ENOENT", path);
    return node;
  }

  #directory(path: string): DirectoryNode {
    const node = this.#find(path);
    if (node?.kind !== "directory") throw systemError("ENOENT", path);
    return node;
  }

  #parent(path: string): { directory: DirectoryNode; name: string } {
    const slash = path.lastIndexOf("/");
    return { directory: this.#directory(path.slice(0, slash)), name: path.slice(slash + 1) };
  }
}

function systemError(code: string, what: string): Error {
  return Object.assign(new Error(`${code}: ${what}`), { code });
}

function applyNames(names: Map<string, SimNode>, change: NameChange): void {
  for (const { name, node } of change) {
    if (node === null) names.delete(name);
    else names.set(name, node);
  }
}

/** Makes these sectors durable; the file ends after the last of them, or where it did. */
function keepSectors(node: FileNode, sectors: readonly number[]): void {
  const last = sectors.reduce((max, sector) => Math.max(max, sector), -1);
  const end = Math.min(node.cached.length, (last + 1) * sectorBytes);
  if (end > node.durable.length) node.durable = resized(node.durable, end);
  for (const sector of sectors) {
    const start = sector * sectorBytes;
    node.durable.set(node.cached.subarray(start, start + sectorBytes), start);
  }
}

/** What is left of a directory. One file under two names (half a rename) stays one file. */
function crashedDirectory(
  directory: DirectoryNode,
  survives: Survives,
  done: Map<SimNode, SimNode>,
): DirectoryNode {
  const names = new Map(directory.durable);
  for (const change of directory.pending) if (survives()) applyNames(names, change);
  const entries = new Map<string, SimNode>();
  for (const [name, node] of names) {
    const crashed = done.get(node) ?? crashedNode(node, survives, done);
    done.set(node, crashed);
    entries.set(name, crashed);
  }
  return newDirectory(entries);
}

function crashedNode(node: SimNode, survives: Survives, done: Map<SimNode, SimNode>): SimNode {
  if (node.kind === "directory") return crashedDirectory(node, survives, done);
  const copy: FileNode = { ...node, durable: node.durable.slice() };
  keepSectors(
    copy,
    [...node.dirty].filter(() => survives()),
  );
  const isCut = node.cached.length < copy.durable.length && survives();
  return newFile(isCut ? resized(copy.durable, node.cached.length) : copy.durable);
}

function* walkDirectory(
  directory: DirectoryNode,
  path: string,
): Generator<{ path: string; content: Uint8Array }> {
  for (const [name, node] of [...directory.cached].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (node.kind === "directory") yield* walkDirectory(node, `${path}/${name}`);
    else yield { path: `${path}/${name}`, content: node.cached };
  }
}
