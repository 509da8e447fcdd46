// The interaction language of test/testdata/raft: several rafts in one world, moved by hand. An
// entry is written index/term; "1>2" is a message, or the pair of members it passes between.
//
//   world voters=3 [learners=1] [any limit=n]    starts anew
//   campaign 1, tick 1 [n], disconnect 1 2, stall 1 half
//   propose 1 a b, read 1 7, sync 1 [n], load 1, crash 1 [kept], restart 1 [tail=n] [applied=n]
//   deliver|drop|double [1>2 | 1> | >2 ...]      what is in flight now, or of these pairs only
//   settle [without 3 ...]                       until nothing moves; then the status
//   status, log, flight
import type { Entry } from "../../src/raft/entry.ts";
import type { Message } from "../../src/raft/message.ts";
import type { Ready } from "../../src/raft/ready.ts";
import { testTranscripts } from "../transcript.ts";
import { Ledger } from "./ledger.ts";
import { World } from "./world.ts";
import type { WorldMember, WorldObserver } from "./world.ts";

testTranscripts("raft", () => {
  let script = new Script(["voters=3"]);
  return (command, args) => {
    if (command === "world") script = new Script(args);
    else script.run(command, args);
    return script.takeLines();
  };
});

class Script implements WorldObserver {
  readonly #world: World;
  readonly #ledger = new Ledger();
  readonly #known = new Map<string, string>();
  #lines: string[] = [];
  #isSilent = false;
  #lastBatch = 0;

  constructor(args: string[]) {
    const numbers = new Map(args.map((arg) => arg.split("=") as [string, string]));
    const voters = Number(numbers.get("voters") ?? 3);
    const learners = Number(numbers.get("learners") ?? 0);
    const limits: Record<string, number> = {};
    for (const [name, value] of numbers) {
      if (name !== "voters" && name !== "learners") limits[name] = Number(value);
    }
    this.#world = new World({ voters, learners, limits }, this);
    this.#ledger.watch(this.#world);
  }

  takeLines(): string {
    const lines = this.#lines;
    this.#lines = [];
    return lines.length === 0 ? "ok" : lines.join("\n");
  }

  run(command: string, args: string[]): void {
    const world = this.#world;
    const [id = "1", second = ""] = args;
    const rest = args.slice(1);
    switch (command) {
      case "campaign":
        return world.campaign(id);
      case "tick":
        for (let left = Number(second || 1); left > 0; left--) world.tick(id);
        return;
      case "disconnect":
        world.raft(id).leaderDisconnected(world.member(second).id);
        return world.pump(id);
      case "stall":
        world.raft(id).diskStall(second as "none" | "half" | "full");
        return world.pump(id);
      case "propose": {
        const commands = rest.map((text) => new TextEncoder().encode(text));
        const result = world.raft(id).propose(commands, ++this.#lastBatch);
        if (result !== "accepted") this.#lines.push(`${id} ${result}`);
        return world.pump(id);
      }
      case "read":
        for (const request of rest) {
          this.#ledger.asked(world.member(id), Number(request));
          world.raft(id).readIndex(Number(request));
        }
        return world.pump(id);
      case "sync":
        return world.sync(id, Number(second || Infinity));
      case "load":
        return world.load(id);
      case "crash":
        this.#ledger.crashed(world.member(id));
        return world.crash(id, Number(second || 0));
      case "restart":
        world.restart(id, {
          tailCount: numberArg(rest, "tail") ?? 1000,
          applied: numberArg(rest, "applied") ?? world.member(id).applied,
        });
        return world.pump(id);
      case "deliver":
      case "drop":
      case "double":
        return this.#move(command, args);
      case "settle":
        return this.#settle(args.slice(1));
      case "status":
        return this.#status();
      case "log":
        return this.#logs();
      case "flight":
        for (const message of world.network) this.#lines.push(describe(message));
        return;
      default:
        throw new Error(`no such command: ${command}`);
    }
  }

  taken(member: WorldMember, ready: Ready): void {
    this.#ledger.taken(member, ready);
    this.#noteRole(member);
    const { append } = ready;
    if (append !== null) {
      const { hardState, entries } = append;
      const parts = entries.map(describeEntry);
      if (hardState !== null) {
        const { term, vote, commit } = hardState;
        parts.unshift(`(term ${term}, vote ${vote ?? "-"}, commit ${commit})`);
      }
      this.#say(`${member.id} writes ${parts.join(" ")}`);
    }
    for (const request of ready.readsFailed)
      this.#say(`${member.id} cannot confirm read ${request}`);
    for (const batch of ready.batchesRefused)
      this.#say(`${member.id} learns that batch ${batch} was refused`);
    for (const { first, last, purpose } of ready.wanted) {
      this.#say(`${member.id} wants ${first}..${last} from disk for ${purpose}`);
    }
  }

  pumped(member: WorldMember): void {
    this.#ledger.pumped(member);
    this.#noteRole(member);
  }

  sent(member: WorldMember, message: Message): void {
    this.#ledger.sent(member, message);
    this.#say(describe(message));
  }

  applied(member: WorldMember, entry: Entry): void {
    this.#ledger.applied(member, entry);
    this.#say(`${member.id} applies ${describeEntry(entry)}`);
  }

  read(member: WorldMember, read: { request: number; index: number }): void {
    this.#ledger.read(member, read);
    this.#say(`${member.id} confirms read ${read.request} at ${read.index}`);
  }

  #say(line: string): void {
    if (!this.#isSilent) this.#lines.push(line);
  }

  #noteRole(member: WorldMember): void {
    const status = member.raft?.status();
    if (status === undefined) return;
    const now = `${status.role} in term ${status.term}, leader ${status.leader ?? "-"}`;
    const before = this.#known.get(member.id) ?? "follower in term 0, leader -";
    this.#known.set(member.id, now);
    if (now !== before) this.#say(`${member.id} is ${now}`);
  }

  #move(command: "deliver" | "drop" | "double", pairs: string[]): void {
    const world = this.#world;
    const isMeant = (message: Message): boolean =>
      pairs.length === 0 ||
      pairs.some((pair) => {
        const [from, to] = pair.split(">");
        return (!from || from === message.from) && (!to || to === message.to);
      });
    const meant = world.network.filter(isMeant);
    if (command !== "double") world.network = world.network.filter((one) => !isMeant(one));
    if (command === "double") world.network.push(...meant);
    if (command === "deliver") for (const message of meant) world.deliver(message);
    else for (const message of meant) this.#say(`${command}s ${describe(message)}`);
  }

  #settle(without: string[]): void {
    this.#isSilent = true;
    this.#world.settle(({ from, to }) => without.includes(from) || without.includes(to));
    this.#isSilent = false;
    this.#status();
  }

  #status(): void {
    for (const { id, raft, applied } of this.#world.members.values()) {
      if (raft === null) {
        this.#lines.push(`${id} is down`);
        continue;
      }
      const { role, term, commit, last, durable } = raft.status();
      const head = `${id} ${role} term ${term} commit ${commit} applied ${applied}`;
      const progress = raft.progress().map(({ member, state, match, next, inflightCount }) => {
        const inflight = inflightCount === 0 ? "" : ` (${inflightCount} in flight)`;
        return `; ${member} ${state} ${match}<${next}${inflight}`;
      });
      this.#lines.push(`${head} durable ${durable}/${last}${progress.join("")}`);
    }
  }

  #logs(): void {
    for (const { id, disk, written } of this.#world.members.values()) {
      const durable = disk.log.entries.map(describeEntry).join(" ");
      const isSame = written.hashAt(written.last()) === disk.log.hashAt(written.last());
      const more = isSame ? "" : ` | memory: ${written.entries.map(describeEntry).join(" ")}`;
      this.#lines.push(`${id} disk: ${durable}${more}`);
    }
  }
}

function numberArg(args: string[], name: string): number | undefined {
  const found = args.find((arg) => arg.startsWith(`${name}=`));
  return found === undefined ? undefined : Number(found.slice(name.length + 1));
}

function describeEntry({ index, term, data }: Entry): string {
  return `${index}/${term}"${new TextDecoder().decode(data)}"`;
}

function describe(message: Message): string {
  const head = `${message.from}>${message.to} ${message.type} t${message.term}`;
  switch (message.type) {
    case "append": {
      const { previous, entries, commit } = message;
      const list = entries.map(describeEntry).join(" ");
      return `${head} after ${previous.index}/${previous.term} [${list}] commit ${commit}`;
    }
    case "appendResponse":
      return `${head} match ${message.match}`;
    case "appendRejection":
      return `${head} after ${message.previous}, hint ${message.hint.index}/${message.hint.term}`;
    case "heartbeat":
      return `${head} round ${message.round} commit ${message.commit}`;
    case "heartbeatResponse":
      return `${head} round ${message.round}`;
    case "preVote":
    case "vote":
      return `${head} last ${message.last.index}/${message.last.term}`;
    case "preVoteResponse":
    case "voteResponse":
      return `${head} ${message.granted ? "granted" : "refused"}`;
    case "propose":
      return `${head} ${message.commands.map((one) => new TextDecoder().decode(one)).join(" ")}`;
    case "proposeRejection":
      return `${head} batch ${message.batch}`;
    case "readIndex":
      return `${head} read ${message.request}`;
    case "readIndexResponse":
      return `${head} read ${message.request} at ${message.index ?? "none"}`;
  }
}
