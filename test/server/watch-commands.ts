// Commands of the watch transcripts:
//
//   put k=v [k=v | k-] ...      one revision; k- deletes
//   delete-range k end          one revision
//   compact revision            floor and removal
//   flush                       the overlay goes to the backend
//   stream name [room=bytes]    a stream whose client has so much room; without: endless
//   create name key [end] [start=n] [id=n] [prev] [progress] [fragment] [noput] [nodelete]
//   cancel name id | progress name | close name
//   read name [n]               what the client gets, all or n messages
//   queued name                 messages the client has not read
//   advance ms | term n
//   at-once                     the commands of the following lines, before anything else runs
//
// A response is printed as: id @header-revision what events; \0 stands for a zero byte.
import { assert } from "../../src/base/assert.ts";
import type { WatchId } from "../../src/base/ids.ts";
import type { WatchCreateRequest, WatchResponse } from "../../src/proto/etcdserverpb/watch.ts";
import { Event_EventType } from "../../src/proto/mvccpb/kv.ts";
import type { Event, KeyValue } from "../../src/proto/mvccpb/kv.ts";
import type { TranscriptRun } from "../transcript.ts";
import { bytes, text, WatchBench } from "./watch-bench.ts";
import type { Reader } from "./watch-bench.ts";

interface Play {
  readonly bench: WatchBench;
  readonly readers: Map<string, Reader>;
}

type Command = (play: Play, args: readonly string[]) => string | Promise<string>;

const commands: Readonly<Record<string, Command>> = {
  put({ bench }, args) {
    const changes = args.map((change) => {
      if (change.endsWith("-")) return [unescape(change.slice(0, -1)), null] as const;
      const [key = "", value = ""] = change.split("=");
      return [unescape(key), expand(value)] as const;
    });
    return revisionOf(bench.write(changes));
  },
  "delete-range"({ bench }, [key = "", end = ""]) {
    return revisionOf(bench.deleteRange(unescape(key), unescape(end)));
  },
  compact({ bench }, [revision]) {
    bench.compact(Number(revision));
    return "";
  },
  async flush({ bench }) {
    await bench.flush();
    return "";
  },
  stream({ bench, readers }, [name = "", room]) {
    readers.set(name, bench.openReader(room === undefined ? Infinity : numberIn(room)));
    return "";
  },
  create(play, [name = "", key = "", ...rest]) {
    play.bench.create(readerOf(play, name), createRequest(key, rest));
    return "";
  },
  cancel(play, [name = "", id = ""]) {
    play.bench.hub.cancel(readerOf(play, name).stream, id as WatchId);
    return "";
  },
  progress(play, [name = ""]) {
    play.bench.hub.requestProgress(readerOf(play, name).stream);
    return "";
  },
  close(play, [name = ""]) {
    play.bench.hub.closeStream(readerOf(play, name).stream);
    return "";
  },
  async read(play, [name = "", count]) {
    const { sink } = readerOf(play, name);
    const responses: WatchResponse[] = [];
    const most = count === undefined ? Infinity : Number(count);
    do {
      responses.push(...sink.read(most - responses.length));
      await play.bench.settle();
    } while (sink.queue.length > 0 && responses.length < most);
    return responses.length === 0 ? "nothing" : responses.map(renderResponse).join("\n");
  },
  queued(play, [name = ""]) {
    return `${readerOf(play, name).sink.queue.length} messages`;
  },
  advance({ bench }, [ms]) {
    bench.time.advance(Number(ms));
    return "";
  },
  term({ bench }, [term]) {
    bench.term = Number(term);
    return "";
  },
};

export async function startWatchCommands(): Promise<TranscriptRun> {
  const bench = await WatchBench.open({
    fragmentBytes: 200,
    progressNotifyMs: 1000,
    recentRevisionsMax: 4,
    responseBytesMax: 400,
  });
  const play: Play = { bench, readers: new Map() };
  const run = (name: string, args: readonly string[]) => {
    const command = commands[name];
    assert(command !== undefined, `no command ${name}`);
    return command(play, args);
  };
  return async (name, args, more) => {
    const answers: string[] = [];
    if (name !== "at-once") answers.push(await run(name, args));
    for (const line of more) {
      const [next = "", ...words] = line.split(/\s+/);
      answers.push(await run(next, words));
    }
    await bench.settle();
    return answers.filter((answer) => answer !== "").join("\n");
  };
}

function readerOf({ readers }: Play, name: string): Reader {
  const reader = readers.get(name);
  assert(reader !== undefined, `no stream ${name}`);
  return reader;
}

function createRequest(key: string, rest: readonly string[]): Partial<WatchCreateRequest> {
  const flags = new Set(rest);
  const valueOf = (name: string) => rest.find((word) => word.startsWith(`${name}=`));
  const end = rest.find((word) => /^(\\0|[^=]*\+|".*")$/.test(word));
  return {
    key: bytes(unescape(key)),
    rangeEnd: bytes(end === undefined ? "" : unescape(end.replace(/\+$/, ""))),
    startRevision: numberIn(valueOf("start") ?? "start=0"),
    watchId: (valueOf("id") ?? "id=0").slice(3),
    prevKv: flags.has("prev"),
    progressNotify: flags.has("progress"),
    fragment: flags.has("fragment"),
    filters: [
      ...(flags.has("noput") ? [0 as const] : []),
      ...(flags.has("nodelete") ? [1 as const] : []),
    ],
  };
}

function numberIn(word: string): number {
  return Number(word.slice(word.indexOf("=") + 1));
}

/** x*300 stands for 300 times x. */
function expand(value: string): string {
  const [unit = "", count] = value.split("*");
  return count === undefined ? value : unit.repeat(Number(count));
}

function unescape(word: string): string {
  return word.replaceAll('"', "").replaceAll("\\0", "\0");
}

function revisionOf(events: { revision: number } | null): string {
  return events === null ? "no revision" : `revision ${events.revision}`;
}

function renderResponse(response: WatchResponse): string {
  const { header, watchId, compactRevision, cancelReason } = response;
  const words = [`${watchId} @${header?.revision ?? "none"}`];
  if (header?.raftTerm !== 1) words.push(`term ${header?.raftTerm ?? "none"}`);
  if (response.created) words.push("created");
  if (response.canceled) words.push("canceled");
  if (compactRevision !== 0) words.push(`compacted ${compactRevision}`);
  if (cancelReason !== "") words.push(`"${cancelReason}"`);
  if (response.fragment) words.push("fragment");
  return [words.join(" "), ...response.events.map(renderEvent)].join("\n  ");
}

function renderEvent({ type, kv, prevKv }: Event): string {
  assert(kv !== undefined, "an event without a key");
  const prev = prevKv === undefined ? "" : ` was ${renderPair(prevKv)}`;
  if (type === Event_EventType.DELETE) return `del ${show(text(kv.key))} m${kv.modRevision}${prev}`;
  return `put ${renderPair(kv)}${prev}`;
}

function renderPair({ key, value, createRevision, modRevision, version }: KeyValue): string {
  return `${show(text(key))}=${show(text(value))} c${createRevision} m${modRevision} v${version}`;
}

function show(word: string): string {
  const escaped = word.replaceAll("\0", "\\0");
  return escaped.length > 20 ? `${escaped[0]}*${escaped.length}` : escaped;
}
