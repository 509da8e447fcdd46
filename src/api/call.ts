// The steps that handlers share: request bytes to a message, a message to a command, a command to
// its response. No handler decodes, composes or reads an outcome by hand.
import { assert } from "../base/assert.ts";
import { putVarint, varintBytes } from "../base/bytes.ts";
import { RequestError, grpcStatus } from "../base/errors.ts";
import type { CallLimits } from "../server/call-limits.ts";
import type { Outcome } from "../state/outcome.ts";
import { isStrict, malformed } from "./strict-fields.ts";
import type { MessageShape } from "./strict-fields.ts";
import type { ServingNode } from "./serving-node.ts";

/** The generated functions of a message. */
export interface Codec<T> {
  encode(message: T): { finish(): Uint8Array };
  decode(bytes: Uint8Array): T;
}

export interface DecodedRequest<T> {
  readonly message: T;
  /** Means exactly `message`: what the client sent where that is so, otherwise encoded anew. */
  readonly bytes: Uint8Array;
}

/** Throws RequestError for bytes that are no such message. */
export function decodeRequest<T>(
  codec: Codec<T>,
  shape: MessageShape,
  bytes: Uint8Array,
): DecodedRequest<T> {
  const strict = isStrict(bytes, shape);
  let message: T;
  try {
    message = codec.decode(bytes);
  } catch (error) {
    // The generated decoder's errors: what it refuses beyond the walk.
    throw malformed(String(error));
  }
  return { message, bytes: strict ? bytes : codec.encode(message).finish() };
}

/** Field numbers of Command.request for client requests: etcd's, see proto/keelson. */
export const commandField = {
  put: 4,
  deleteRange: 5,
  txn: 6,
  compaction: 7,
  leaseGrant: 8,
  leaseRevoke: 9,
} as const;
export type ClientCommand = keyof typeof commandField;

/** A Command that holds these request bytes as they are. */
export function composeCommand(kind: ClientCommand, request: Uint8Array): Uint8Array {
  const { length } = request;
  const command = new Uint8Array(1 + varintBytes(length) + length);
  command[0] = commandField[kind] * 8 + 2;
  command.set(request, putVarint(command, 1, length));
  return command;
}

type OutcomeOf<K extends ClientCommand> = Extract<Outcome, { readonly type: K }>;

/** Proposes, and answers the outcome; one that is an error is thrown. */
export async function propose<K extends ClientCommand>(
  node: ServingNode,
  command: { readonly kind: K; readonly request: Uint8Array },
  limits: CallLimits,
): Promise<OutcomeOf<K>> {
  const outcome = await node.propose(composeCommand(command.kind, command.request), limits);
  if (outcome.type === "error") throw RequestError.of(outcome.code);
  assert(isOutcomeOf(outcome, command.kind), `a ${command.kind} ended as ${outcome.type}`);
  return outcome;
}

function isOutcomeOf<K extends ClientCommand>(outcome: Outcome, kind: K): outcome is OutcomeOf<K> {
  return outcome.type === kind;
}

/** The request of a stream method that takes one. */
export async function onlyRequest(requests: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  for await (const request of requests) return request;
  throw RequestError.worded(grpcStatus.internal, "the call ended before its request came");
}
