// The header block of a request, read once: which method, until when, with which metadata; or why
// not, in the words of grpc-go, which etcd's clients were written against.
//
// A missing "te: trailers" is no reason: grpc-go does not ask for it, and proxies drop it.
import type { Metadata, Method, MethodTable } from "../api/method.ts";
import { grpcStatus, RequestError } from "../base/errors.ts";
import type { HeaderFields } from "../http2/hpack-decoder.ts";
import { grpcContentType } from "./status.ts";

export interface CallHead {
  readonly path: string;
  readonly method: Method;
  /** Absolute, on the clock that gave `now`; Infinity without grpc-timeout. */
  readonly deadline: number;
  readonly metadata: Metadata;
}

/** A request that is no call: answered at once, with this HTTP status. */
export interface HeadRefusal {
  readonly httpStatus: number;
  readonly refusal: RequestError;
}

export function readCallHead(
  methods: MethodTable,
  fields: HeaderFields,
  now: number,
): CallHead | HeadRefusal {
  const verb = valueOf(fields, ":method") ?? "";
  if (verb !== "POST") {
    return refuse(
      405,
      grpcStatus.internal,
      `Received a HEADERS frame with :method "${verb}" which should be POST`,
    );
  }
  const contentType = valueOf(fields, "content-type") ?? "";
  if (contentType !== grpcContentType && !isSupported(contentType)) {
    return refuse(
      415,
      grpcStatus.invalidArgument,
      `invalid gRPC request content-type "${contentType}"`,
    );
  }
  let deadline = Infinity;
  const timeout = valueOf(fields, "grpc-timeout");
  if (timeout !== undefined) {
    const timeoutMs = readTimeoutMs(timeout);
    if (timeoutMs === null) {
      return refuse(400, grpcStatus.internal, `malformed grpc-timeout: "${timeout}"`);
    }
    deadline = now + timeoutMs;
  }
  const path = valueOf(fields, ":path") ?? "";
  const method = methods.get(path);
  if (method === undefined) return unknownMethod(methods, path);
  const encoding = valueOf(fields, "grpc-encoding");
  if (encoding !== undefined && encoding !== "identity") {
    return refuse(
      200,
      grpcStatus.unimplemented,
      `grpc: Decompressor is not installed for grpc-encoding "${encoding}"`,
    );
  }
  return { path, method, deadline, metadata: new CallMetadata(fields) };
}

/** The first value of this name. */
function valueOf(fields: HeaderFields, name: string): string | undefined {
  for (let i = 0; i < fields.length; i += 2) if (fields[i] === name) return fields[i + 1];
  return undefined;
}

function refuse(httpStatus: number, status: CallStatus, text: string): HeadRefusal {
  return { httpStatus, refusal: RequestError.worded(status, text) };
}

type CallStatus = Parameters<typeof RequestError.worded>[0];

function isSupported(contentType: string): boolean {
  return /^application\/grpc(?:\+proto)?(?:;.*)?$/i.test(contentType);
}

function unknownMethod(methods: MethodTable, path: string): HeadRefusal {
  const slash = path.lastIndexOf("/");
  if (!path.startsWith("/") || slash <= 0) {
    return refuse(200, grpcStatus.unimplemented, `malformed method name: "${path}"`);
  }
  const service = path.slice(1, slash);
  const prefix = path.slice(0, slash + 1);
  const isKnown = [...methods.keys()].some((known) => known.startsWith(prefix));
  return refuse(
    200,
    grpcStatus.unimplemented,
    isKnown
      ? `unknown method ${path.slice(slash + 1)} for service ${service}`
      : `unknown service ${service}`,
  );
}

/** At most eight digits and a unit; null when malformed. */
export function readTimeoutMs(text: string): number | null {
  const match = /^(\d{1,8})([HMSmun])$/.exec(text);
  if (match === null) return null;
  return Number(match[1]) * (unitMs.get(match[2] ?? "") ?? NaN);
}

const unitMs: ReadonlyMap<string, number> = new Map([
  ["H", 3_600_000],
  ["M", 60_000],
  ["S", 1_000],
  ["m", 1],
  ["u", 1e-3],
  ["n", 1e-6],
]);

/** What a request says beside its call: the first value of each name. What belongs to the transport
 * is left out, as grpc-go does; names that end in "-bin" keep their base64. A call has a handful
 * of fields, and most handlers ask for two: no map is made of them. */
class CallMetadata implements Metadata {
  readonly #fields: HeaderFields;

  constructor(fields: HeaderFields) {
    this.#fields = fields;
  }

  get(name: string): string | undefined {
    return isReserved(name) ? undefined : valueOf(this.#fields, name);
  }
}

function isReserved(name: string): boolean {
  if (name.startsWith(":")) return name !== ":authority";
  return name.startsWith("grpc-") || name === "content-type" || name === "te";
}
