// grpc.health.v1.Health for the whole server (service name ""), which is all that etcd registers.
// SERVING while the member can answer linearizable requests; NOT_SERVING without quorum and from
// the start of a shutdown. Beyond etcd, whose answer never changes, so that a balancer that
// checks health moves clients away. It does not decide: the source does.
import { onlyRequest } from "../api/call.ts";
import type { CallContext, Method, ResponseSink } from "../api/method.ts";
import { malformed } from "../api/strict-fields.ts";
import { grpcStatus, RequestError } from "../base/errors.ts";
import {
  HealthCheckRequest,
  HealthCheckResponse,
  HealthCheckResponse_ServingStatus as ServingStatus,
  HealthListRequest,
  HealthListResponse,
} from "../proto/grpc/health/v1/health.ts";

export interface HealthSource {
  serving(): boolean;
  /** Resolves when `serving` may have changed, or when the signal is aborted. */
  changed(signal: AbortSignal): Promise<void>;
}

export function healthMethods(source: HealthSource): readonly [path: string, method: Method][] {
  const current = (): HealthCheckResponse => ({
    status: source.serving() ? ServingStatus.SERVING : ServingStatus.NOT_SERVING,
  });
  return [
    [
      "/grpc.health.v1.Health/Check",
      {
        kind: "unary",
        async handle(request) {
          const { service } = decode(HealthCheckRequest, request);
          if (service !== "") throw RequestError.worded(grpcStatus.notFound, "unknown service");
          return HealthCheckResponse.encode(current()).finish();
        },
      },
    ],
    [
      "/grpc.health.v1.Health/List",
      {
        kind: "unary",
        async handle(request) {
          decode(HealthListRequest, request);
          return HealthListResponse.encode({ statuses: { "": current() } }).finish();
        },
      },
    ],
    [
      "/grpc.health.v1.Health/Watch",
      {
        kind: "stream",
        async handle(requests, sink, context) {
          const { service } = decode(HealthCheckRequest, await onlyRequest(requests));
          if (service === "") await reportChanges(source, sink, context);
          else await reportUnknown(sink, context);
        },
      },
    ],
  ];
}

/** The present status, then every change of it, until the caller leaves. */
async function reportChanges(
  source: HealthSource,
  sink: ResponseSink,
  context: CallContext,
): Promise<void> {
  let reported: boolean | null = null;
  while (!context.signal.aborted) {
    const serving = source.serving();
    if (serving === reported) {
      await source.changed(context.signal);
      continue;
    }
    reported = serving;
    const status = serving ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
    if (!sink.write(HealthCheckResponse.encode({ status }).finish())) await sink.drained();
  }
}

/** As the protocol asks: an unknown service is reported, and the stream stays open. */
async function reportUnknown(sink: ResponseSink, { signal }: CallContext): Promise<void> {
  sink.write(HealthCheckResponse.encode({ status: ServingStatus.SERVICE_UNKNOWN }).finish());
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

function decode<T>(type: { decode(bytes: Uint8Array): T }, bytes: Uint8Array): T {
  try {
    return type.decode(bytes);
  } catch (error) {
    // Generated decoders throw plain errors, and only for malformed bytes.
    throw malformed(String(error));
  }
}
