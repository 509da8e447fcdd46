// An ordered tree of key records with the number of live keys below every node: a B+tree, so that
// finding, inserting and counting an interval take O(log n) steps.
//
// A leaf holds records in key order; a branch holds nodes and, for each, a key that is <= all keys
// below it and > all keys before it. Nodes know their parent, so that a change of liveness climbs.
// Underfull neighbours are merged; nodes of one parent only, which keeps removal short and leaves
// the tree a little less than minimal after mass deletion.
import { assert } from "../base/assert.ts";
import { compareBytes } from "../base/bytes.ts";
import type { KeyRecord } from "./key-record.ts";
import { KeyTable } from "./key-table.ts";
import type { Interval } from "./mvcc-interval.ts";

const nodeSizeMax = 64;
const nodeSizeMin = 16;

class Leaf {
  readonly isLeaf = true;
  parent: Branch | null = null;
  records: KeyRecord[] = [];
  live = 0;
}

class Branch {
  readonly isLeaf = false;
  parent: Branch | null = null;
  firsts: Uint8Array[] = [];
  children: TreeNode[] = [];
  live = 0;
}

type TreeNode = Leaf | Branch;

/** A record's place; good until the tree changes. */
interface Place {
  leaf: Leaf;
  position: number;
}

export class KeyTree {
  #root: TreeNode = new Leaf();
  readonly #table = new KeyTable();

  liveCount(): number {
    return this.#root.live;
  }

  find(key: Uint8Array): KeyRecord | undefined {
    const found = this.#table.find(key);
    if (found !== null) return found;
    const { records } = this.#leafOf(key);
    const record = records[lowerBound(records, key)];
    return record !== undefined && compareBytes(record.key, key) === 0 ? record : undefined;
  }

  /** The record must not be live, nor its key in the tree. */
  insert(record: KeyRecord): KeyRecord {
    this.#table.add(record);
    const leaf = this.#leafOf(record.key);
    leaf.records.splice(lowerBound(leaf.records, record.key), 0, record);
    if (leaf.records.length > nodeSizeMax) this.#splitLeaf(leaf);
    return record;
  }

  /** To be called whenever a record becomes live (1) or ceases to be (-1). */
  countLive(key: Uint8Array, change: 1 | -1): void {
    for (let node: TreeNode | null = this.#leafOf(key); node !== null; node = node.parent) {
      node.live += change;
    }
  }

  /** The record must be in the tree and not live. */
  remove(record: KeyRecord): void {
    const leaf = this.#leafOf(record.key);
    const position = lowerBound(leaf.records, record.key);
    assert(leaf.records[position] === record && !record.isLive(), "only dead keys are removed");
    leaf.records.splice(position, 1);
    this.#table.remove(record);
    this.#shrink(leaf);
  }

  /** Live keys in the interval. */
  count({ first, end }: Interval): number {
    return Math.max(0, (end === null ? this.#root.live : this.#rank(end)) - this.#rank(first));
  }

  /** Records in key order until `visit` says false. The tree must not change meanwhile. */
  scan({ first, end }: Interval, visit: (record: KeyRecord) => boolean): void {
    let place: Place | null = this.#placeOf(first);
    while (place !== null) {
      const { records } = place.leaf;
      for (let i = place.position; i < records.length; i++) {
        const record = records[i] as KeyRecord;
        if (end !== null && compareBytes(record.key, end) >= 0) return;
        if (!visit(record)) return;
      }
      const next = nextLeaf(place.leaf);
      place = next === null ? null : { leaf: next, position: 0 };
    }
  }

  #placeOf(key: Uint8Array): Place {
    const leaf = this.#leafOf(key);
    return { leaf, position: lowerBound(leaf.records, key) };
  }

  #leafOf(key: Uint8Array): Leaf {
    let node = this.#root;
    while (!node.isLeaf) node = node.children[childPosition(node, key)] as TreeNode;
    return node;
  }

  // Live keys less than `key`.
  #rank(key: Uint8Array): number {
    let rank = 0;
    let node = this.#root;
    while (!node.isLeaf) {
      const position = childPosition(node, key);
      for (let i = 0; i < position; i++) rank += (node.children[i] as TreeNode).live;
      node = node.children[position] as TreeNode;
    }
    const end = lowerBound(node.records, key);
    for (let i = 0; i < end; i++) if ((node.records[i] as KeyRecord).isLive()) rank++;
    return rank;
  }

  #splitLeaf(leaf: Leaf): void {
    const right = new Leaf();
    right.records = leaf.records.splice(leaf.records.length >>> 1);
    right.live = countLiveRecords(right.records);
    leaf.live -= right.live;
    this.#insertAfter(leaf, right, (right.records[0] as KeyRecord).key);
  }

  #splitBranch(branch: Branch): void {
    const right = new Branch();
    const half = branch.children.length >>> 1;
    right.children = branch.children.splice(half);
    right.firsts = branch.firsts.splice(half);
    for (const child of right.children) {
      child.parent = right;
      right.live += child.live;
    }
    branch.live -= right.live;
    this.#insertAfter(branch, right, right.firsts[0] as Uint8Array);
  }

  #insertAfter(node: TreeNode, right: TreeNode, first: Uint8Array): void {
    let parent = node.parent;
    if (parent === null) {
      parent = new Branch();
      parent.children = [node];
      parent.firsts = [new Uint8Array(0)];
      parent.live = node.live + right.live;
      node.parent = parent;
      this.#root = parent;
    }
    const position = parent.children.indexOf(node) + 1;
    parent.children.splice(position, 0, right);
    parent.firsts.splice(position, 0, first);
    right.parent = parent;
    if (parent.children.length > nodeSizeMax) this.#splitBranch(parent);
  }

  // A root branch has two children at least.
  #lowerRoot(): void {
    while (!this.#root.isLeaf && this.#root.children.length === 1) {
      this.#root = this.#root.children[0] as TreeNode;
      this.#root.parent = null;
    }
  }

  // After a removal below `node`: drops it when empty, joins it to a neighbour when small.
  #shrink(node: TreeNode): void {
    const { parent } = node;
    if (parent === null) {
      this.#lowerRoot();
      return;
    }
    if (sizeOf(node) >= nodeSizeMin) return;
    const position = parent.children.indexOf(node);
    if (sizeOf(node) === 0) {
      removeChild(parent, position);
    } else if (!joinNext(parent, position) && !joinNext(parent, position - 1)) {
      return;
    }
    this.#shrink(parent);
  }
}

function sizeOf(node: TreeNode): number {
  return node.isLeaf ? node.records.length : node.children.length;
}

function removeChild(parent: Branch, position: number): void {
  parent.children.splice(position, 1);
  parent.firsts.splice(position, 1);
}

// Moves all of the child after `position` into the one there, if it fits; false: it stays.
function joinNext(parent: Branch, position: number): boolean {
  const node = parent.children[position];
  const next = parent.children[position + 1];
  if (node === undefined || next === undefined) return false;
  if (sizeOf(node) + sizeOf(next) > nodeSizeMax / 2) return false;
  if (node.isLeaf && next.isLeaf) {
    node.records.push(...next.records);
  } else if (!node.isLeaf && !next.isLeaf) {
    // The first key of a branch's first child may be less than the branch's own.
    next.firsts[0] = parent.firsts[position + 1] as Uint8Array;
    node.firsts.push(...next.firsts);
    node.children.push(...next.children);
    for (const child of next.children) child.parent = node;
  }
  node.live += next.live;
  removeChild(parent, position + 1);
  return true;
}

function nextLeaf(leaf: Leaf): Leaf | null {
  let node: TreeNode = leaf;
  for (;;) {
    const parent: Branch | null = node.parent;
    if (parent === null) return null;
    const next: TreeNode | undefined = parent.children[parent.children.indexOf(node) + 1];
    if (next !== undefined) {
      node = next;
      break;
    }
    node = parent;
  }
  while (!node.isLeaf) node = node.children[0] as TreeNode;
  return node;
}

function countLiveRecords(records: readonly KeyRecord[]): number {
  let count = 0;
  for (const record of records) if (record.isLive()) count++;
  return count;
}

// The first record whose key is >= key.
function lowerBound(records: readonly KeyRecord[], key: Uint8Array): number {
  let low = 0;
  let high = records.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareBytes((records[middle] as KeyRecord).key, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

// The last child whose first key is <= key; the first child has no lower bound.
function childPosition({ firsts }: Branch, key: Uint8Array): number {
  let low = 1;
  let high = firsts.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareBytes(firsts[middle] as Uint8Array, key) <= 0) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
