// Responses without events, field by field, and the header that all share.
import { beforeEach, describe, expect, test } from "vitest";
import { concatBytes } from "../../src/base/bytes.ts";
import type { ClusterId, MemberId } from "../../src/base/ids.ts";
import { WatchResponse } from "../../src/proto/etcdserverpb/watch.ts";
import { fieldsOf } from "../../src/server/watch-encoding.ts";
import { WatchResponses } from "../../src/server/watch-responses.ts";

const id = fieldsOf({ watchId: "5" });
let term: number;
let responses: WatchResponses;

beforeEach(() => {
  term = 2;
  const identity = { clusterId: "7" as ClusterId, memberId: "8" as MemberId };
  responses = new WatchResponses({ ...identity, term: () => term }, 10);
});

function decoded(response: readonly Uint8Array[]) {
  const { header, ...rest } = WatchResponse.decode(concatBytes(response));
  return { revision: header?.revision, term: header?.raftTerm, ...rest };
}

const empty = {
  revision: 10,
  term: 2,
  watchId: "5",
  created: false,
  canceled: false,
  compactRevision: 0,
  cancelReason: "",
  fragment: false,
  events: [],
};

describe("WatchResponses", () => {
  test("have the published revision, and only what they say", () => {
    expect(decoded(responses.created(id))).toEqual({ ...empty, created: true });
    expect(decoded(responses.canceled(id))).toEqual({ ...empty, canceled: true });
    expect(decoded(responses.progress(id))).toEqual(empty);
    expect(decoded(responses.streamProgress())).toEqual({ ...empty, watchId: "-1" });
    const refused = { watchId: "-1", created: true, canceled: true, cancelReason: "no" };
    expect(decoded(responses.refused("no"))).toEqual({ ...empty, ...refused });
  });

  test("compacted has header revision 0 and no reason", () => {
    const compacted = { revision: 0, canceled: true, compactRevision: 4 };
    expect(decoded(responses.compacted(id, 4))).toEqual({ ...empty, ...compacted });
  });

  test("header is encoded once for a revision and term", () => {
    const header = responses.header();
    expect(responses.header()).toBe(header);
    expect(decoded([header])).toMatchObject({ revision: 10, term: 2 });
    term = 3;
    expect(decoded([responses.header()])).toMatchObject({ revision: 10, term: 3 });
    responses.advance(11);
    expect(decoded([responses.header()])).toMatchObject({ revision: 11, term: 3 });
  });

  test("advance asserts that no revision is left out", () => {
    expect(() => responses.advance(12)).toThrow("out of order");
    expect(() => responses.advance(10)).toThrow("out of order");
  });
});
