import { describe, expect, test } from "vitest";
import type { MemberId, StoreId } from "../../src/base/ids.ts";
import { Prng } from "../../src/base/prng.ts";
import {
  hasLog,
  inspectDirectory,
  openDirectory,
  type DirectoryOptions,
} from "../../src/wal/data-directory.ts";
import { readSmallFile, replaceSmallFile } from "../../src/wal/files.ts";
import { decodeIdentity, encodeIdentity } from "../../src/wal/identity.ts";
import { WalError, type WalErrorKind } from "../../src/wal/wal-error.ts";
import { cluster, member } from "../contract/log.ts";
import { SimCrash, SimFiles } from "../sim/sim-files.ts";
import { open } from "./scripted-log.ts";
import { create, store } from "./settle.ts";

const segmentBytes = 4 * 4096;
const options: DirectoryOptions = { directory: "/member", create, store, segmentBytes };
const outer = "/member/identity";
const inner = "/member/wal/identity";

function madeDirectory(): SimFiles {
  const files = new SimFiles();
  openDirectory(files, options).writer.close();
  return files;
}

function refusal(files: SimFiles, changed: Partial<DirectoryOptions> = {}): WalErrorKind | number {
  try {
    const { writer, identity } = openDirectory(files, { ...options, ...changed });
    writer.close();
    return identity.start;
  } catch (error) {
    if (!(error instanceof WalError)) throw error;
    return error.kind;
  }
}

describe("openDirectory", () => {
  test("makes a directory only when it is told for whom", () => {
    const files = new SimFiles();
    expect(refusal(files, { create: null })).toBe("missing");
    expect(hasLog(files, "/member")).toBe(false);
    expect(refusal(files)).toBe(1);
    expect(hasLog(files, "/member")).toBe(true);
    expect(refusal(files, { create: null })).toBe(2);
    expect(inspectDirectory(files, "/member")).toEqual({ cluster, member, store, start: 2 });
  });

  test("keeps the store id of the first start", () => {
    const files = madeDirectory();
    const other = "ffffffffffffffffffffffffffffffff" as StoreId;
    expect(openDirectory(files, { ...options, store: other }).identity.store).toBe(store);
  });

  test("refuses another member's and another cluster's directory, and leaves it as it is", () => {
    const files = madeDirectory();
    const other = "5" as MemberId;
    expect(refusal(files, { create: { ...create, member: other } })).toBe("identity");
    const elsewhere = { ...create, cluster: "6" as typeof cluster };
    expect(() => openDirectory(files, { ...options, create: elsewhere })).toThrow(
      `/member belongs to member ${member} of cluster ${cluster} (store ${store}), not to member ` +
        `${member} of cluster 6: name another directory`,
    );
    expect(inspectDirectory(files, "/member").start).toBe(1);
  });

  test("refuses a newer format with both versions, and a missing format", () => {
    const files = madeDirectory();
    replaceSmallFile(files, "/member", "format", Buffer.from("keelson data format 2\n"));
    expect(() => openDirectory(files, options)).toThrow(
      "/member has data format 2, this Keelson reads 1: start the version that wrote it",
    );
    files.unlink("/member/format");
    expect(() => openDirectory(files, options)).toThrow(
      "/member/format is missing: restore it, or name another directory if this one was not made " +
        "by Keelson",
    );
  });

  test("never fills a directory that lost its log", () => {
    const files = madeDirectory();
    files.rename("/member/wal", "/member/gone");
    expect(refusal(files)).toBe("missing");
    expect(hasLog(files, "/member")).toBe(false);
  });

  test("finishes what a process began that died, though power goes while it does", () => {
    const prng = new Prng(1);
    // Before each step after the log has its name, and then before each step of the next start.
    for (let first = 0; first < 40; first++) {
      for (let second = 0; second < 12; second++) {
        const files = new SimFiles();
        files.crashAtStep = first;
        expect(() => openDirectory(files, options).writer.close()).toThrow(SimCrash);
        files.restart();
        if (!hasLog(files, "/member")) break;
        files.crashAtStep = files.steps() + second;
        try {
          openDirectory(files, options);
          break;
        } catch (error) {
          if (!(error instanceof SimCrash)) throw error;
        }
        for (let image = 0; image < 16; image++) {
          expect(refusal(files.afterCrash(() => prng.chance(0.5)))).toBeGreaterThan(0);
        }
      }
    }
  });

  test("refuses a log that lost its segments", () => {
    const files = madeDirectory();
    for (const name of files.list("/member/wal") ?? []) {
      if (name.startsWith("segment-")) files.unlink(`/member/wal/${name}`);
    }
    expect(refusal(files)).toBe("missing");
  });
});

describe("identity records", () => {
  test("of two directories in one are refused, whichever part was mixed in", () => {
    const other = { ...create, member: "5" as MemberId };
    const files = new SimFiles();
    openDirectory(files, { ...options, create: other }).writer.close();
    for (const path of [outer, inner]) {
      const mixed = madeDirectory();
      mixed.plant(path, files.content(path));
      expect(refusal(mixed, { create: null })).toBe("identity");
    }
    const bothRecords = madeDirectory();
    for (const path of [outer, inner]) bothRecords.plant(path, files.content(path));
    expect(refusal(bothRecords, { create: null })).toBe("identity");
  });

  test("make one damaged one again from the other, and never count a start twice", () => {
    for (const path of [outer, inner]) {
      const size = madeDirectory().content(path).length;
      for (let at = 0; at < size; at++) {
        const files = madeDirectory();
        const bytes = files.content(path);
        bytes[at] = (bytes[at] as number) ^ (1 << (at % 8));
        expect(refusal(files)).toBe(2);
        expect(decodeIdentity(files.content(path))?.start).toBe(2);
      }
    }
  });

  test("refuse when both are damaged, or one is gone", () => {
    const both = madeDirectory();
    for (const path of [outer, inner]) both.content(path)[20] = 0;
    expect(refusal(both)).toBe("identity");
    for (const path of [outer, inner]) {
      const files = madeDirectory();
      files.unlink(path);
      expect(refusal(files)).toBe("identity");
    }
  });

  test("count every start, also one that ended between the two files", () => {
    const files = madeDirectory();
    const bytes = readSmallFile(files, "/member", "identity") ?? new Uint8Array(0);
    const identity = decodeIdentity(bytes);
    if (identity === null) throw new Error("no identity");
    files.plant(outer, encodeIdentity({ ...identity, start: 2 }));
    expect(open(files, segmentBytes).start).toBe(3);
  });

  test("have one form: nothing else decodes", () => {
    const text = Buffer.from(encodeIdentity({ cluster, member, store, start: 7 })).toString();
    expect(text).toMatch(
      /^keelson identity 1\ncluster \d+\nmember \d+\nstore \w{32}\nstart 7\ncrc32 \w{8}\n$/,
    );
    for (const wrong of [`${text}\n`, text.replace("start 7", "start 07"), text.slice(0, -1), ""]) {
      expect(decodeIdentity(Buffer.from(wrong))).toBeNull();
    }
  });
});
