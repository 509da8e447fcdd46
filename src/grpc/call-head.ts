// The header block of a request, read once: which method, until when, with which metadata; or why
// not, in the words of grpc-go, which etcd's clients were written against.
//
// A missing "te: trailers" is no reason: grpc-go does not ask for it, and proxies drop it.
import type { IncomingHttpHeaders } from "node:http2";
import type { Method, MethodTable } from "../api/method.ts";
import { grpcStatus, RequestError } from "../base/errors.ts";
import { grpcContentType } from "./status.ts";

export interface CallHead {
  readonly path: string;
  readonly method: Method;
  /** Absolute, on the clock that gave `now`; Infinity without grpc-timeout. */
  readonly deadline: number;
  readonly metadata: ReadonlyMap<string, string>;
}

/** A request that is no call: answered at once, with this HTTP status. */
export interface HeadRefusal {
  readonly httpStatus: number;
  readonly refusal: RequestError;
}

/** Names and values in turn, as they came: repeated names are not joined here. */
export type RawHeaders = readonly string[];

/** Whether this content type is gRPC's, of any message format. "application/grpc-web" is not. */
export function isGrpc(contentType: string | undefined): boolean {
  return contentType !== undefined && /^application\/grpc(?:$|[+;])/i.test(contentType);
}

export function readCallHead(
  methods: MethodTable,
  headers: IncomingHttpHeaders,
  rawHeaders: RawHeaders,
  now: number,
): CallHead | HeadRefusal {
  if (headers[":method"] !== "POST") {
    return refuse(
      405,
      grpcStatus.internal,
      `Received a HEADERS frame with :method "${headers[":method"]}" which should be POST`,
    );
  }
  const contentType = headers["content-type"] ?? "";
  if (contentType !== grpcContentType && !isSupported(contentType)) {
    return refuse(
      415,
      grpcStatus.invalidArgument,
      `invalid gRPC request content-type "${contentType}"`,
    );
  }
  let deadline = Infinity;
  const timeout = headers["grpc-timeout"];
  if (timeout !== undefined) {
    const timeoutMs = readTimeoutMs(String(timeout));
    if (timeoutMs === null) {
      return refuse(400, grpcStatus.internal, `malformed grpc-timeout: "${String(timeout)}"`);
    }
    deadline = now + timeoutMs;
  }
  const path = headers[":path"] ?? "";
  const method = methods.get(path);
  if (method === undefined) return unknownMethod(methods, path);
  const encoding = headers["grpc-encoding"];
  if (encoding !== undefined && encoding !== "identity") {
    return refuse(
      200,
      grpcStatus.unimplemented,
      `grpc: Decompressor is not installed for grpc-encoding "${String(encoding)}"`,
    );
  }
  return { path, method, deadline, metadata: readMetadata(rawHeaders) };
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

/** First value of each name. What belongs to the transport is left out, as grpc-go does; names
 * that end in "-bin" keep their base64. */
function readMetadata(rawHeaders: RawHeaders): ReadonlyMap<string, string> {
  const metadata = new Map<string, string>();
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? "";
    if (isReserved(name) || metadata.has(name)) continue;
    metadata.set(name, rawHeaders[i + 1] ?? "");
  }
  return metadata;
}

function isReserved(name: string): boolean {
  if (name.startsWith(":")) return name !== ":authority";
  return name.startsWith("grpc-") || name === "content-type" || name === "te";
}
