// The initial cluster as it was at a member's first start, kept in DIR/initial-cluster: on later
// starts the initial-* flags may be left out (as etcd), and the peers' addresses are still known.
// JSON, format 1: { format, name, token, members: [{ name, peerUrls }] }.
//
// Written after the log was made: a crash in between leaves a log without this file, and the next
// start takes the flags once more, whose ids the log's identity checks. Replaced by one rename.
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { InitialMember } from "./bootstrap.ts";
import type { ServeOptions } from "./options.ts";
import { checkFirstStart } from "./options.ts";
import { StartError } from "./start-error.ts";

const fileName = "initial-cluster";
const format = 1;

export interface InitialMembers {
  /** This member's name then. */
  readonly name: string;
  readonly token: string;
  readonly members: readonly InitialMember[];
}

/**
 * The cluster that the directory was made for, or that the flags say when they do: the log's
 * identity then tells a directory of another cluster.
 */
export function chooseInitialMembers(options: ServeOptions, directory: string): InitialMembers {
  const saved = readInitialMembers(directory);
  if (saved !== undefined && !options.isInitialClusterGiven) return saved;
  if (saved === undefined) checkFirstStart(options);
  const { name, initialClusterToken: token, initialCluster: members } = options;
  if (!members.some((member) => member.name === name)) {
    throw new StartError(
      `couldn't find local name "${name}" in the initial cluster configuration; ` +
        `give the flags that ${directory} was made with, or leave --initial-cluster out`,
    );
  }
  return { name, token, members };
}

/** Undefined: none was written. */
export function readInitialMembers(directory: string): InitialMembers | undefined {
  const path = join(directory, fileName);
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
  const parsed = parse(text);
  if (parsed === undefined) {
    throw new StartError(`${path} is damaged or newer: delete it and give --initial-cluster again`);
  }
  return parsed;
}

export function writeInitialMembers(directory: string, initial: InitialMembers): void {
  const path = join(directory, fileName);
  const file = openSync(`${path}.tmp`, "w", 0o600);
  try {
    writeFileSync(file, `${JSON.stringify({ format, ...initial })}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(`${path}.tmp`, path);
  const folder = openSync(directory, "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function parse(text: string): InitialMembers | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  if (!isRecord(value) || value["format"] !== format) return undefined;
  const { name, token, members } = value;
  if (typeof name !== "string" || typeof token !== "string" || !Array.isArray(members)) {
    return undefined;
  }
  return members.every(isMember) ? { name, token, members } : undefined;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function isMember(value: unknown): value is InitialMember {
  if (!isRecord(value)) return false;
  const { name, peerUrls } = value;
  const isUrls = Array.isArray(peerUrls) && peerUrls.every((url) => typeof url === "string");
  return typeof name === "string" && isUrls;
}
