// Limits and times of the peer connections, and the options they give to gRPC. None is an
// operator's: members must agree on what they may send each other.
import type { ChannelOptions } from "@grpc/grpc-js";

export const peerLimits = Object.freeze({
  /** One frame as gRPC takes it. */
  frameBytesMax: 16 << 20,
  /** Messages are put into one frame up to here; the last one may pass it. */
  frameBytesTarget: 2 << 20,
  /** The largest command of a client: one that no frame can carry would stop the log for ever. */
  commandBytesMax: 10 << 20,
  /** Waiting for one peer on one channel; more is dropped. */
  outgoingCountMax: 8192,
  outgoingBytesMax: 64 << 20,
  /** From connection to Hello, and from Hello to its answer. */
  handshakeMs: 5000,
  reconnectMsMin: 50,
  reconnectMsMax: 1000,
  leaseCallMs: 2000,
  /** Streams of one connection: one long-lived, the rest lease calls. */
  streamsMax: 1024,
});

const shared: ChannelOptions = {
  "grpc.max_receive_message_length": peerLimits.frameBytesMax,
  "grpc.max_send_message_length": peerLimits.frameBytesMax,
  "grpc.keepalive_time_ms": 5000,
  "grpc.keepalive_timeout_ms": 5000,
  "grpc-node.flow_control_window": 8 << 20,
};

export const serverOptions: ChannelOptions = {
  ...shared,
  "grpc.max_concurrent_streams": peerLimits.streamsMax,
};

export const clientOptions: ChannelOptions = {
  ...shared,
  // Each channel its own connection: bulk never delays heartbeats.
  "grpc.use_local_subchannel_pool": 1,
  "grpc.initial_reconnect_backoff_ms": peerLimits.reconnectMsMin,
  "grpc.max_reconnect_backoff_ms": peerLimits.reconnectMsMax,
  "grpc.dns_min_time_between_resolutions_ms": peerLimits.reconnectMsMax,
  "grpc.enable_http_proxy": 0,
  "grpc.enable_retries": 0,
  "grpc.service_config_disable_resolution": 1,
};
