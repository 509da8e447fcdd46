// Every limit of the gRPC edge, with its unit in its name and the reason for its default. A limit
// that a client meets is answered with a status it understands (ResourceExhausted, a GOAWAY with
// ENHANCE_YOUR_CALM); only a peer that speaks no gRPC is cut without a word.
//
// Caps on connections (in all, by address) belong to the listener, which sees the sockets first.

export interface GrpcLimits {
  /** Largest request message. */
  readonly messageBytesMax: number;
  /** A unary request must be whole this long after its headers. */
  readonly requestArrivalMs: number;
  /** Bytes of unfinished request messages that one connection may make us hold. */
  readonly unfinishedBytesMax: number;
  /** Unread unary response bytes of one connection above which its further calls wait. */
  readonly unreadBytesMax: number;
  /** Queued bytes of one streaming response from which it is full. */
  readonly sinkBytesMax: number;
  /** Bytes a handler may write to a full sink (answers that cannot wait) before the call ends. */
  readonly sinkOverrunBytesMax: number;
  /** Decoded messages of one streaming request that wait for the handler before reading stops. */
  readonly requestQueueMax: number;
  /** Flow-control window of one stream: what a paused stream can make us hold. */
  readonly streamWindowBytes: number;
  /** Flow-control window of one connection. */
  readonly connectionWindowBytes: number;
  readonly streamsPerConnectionMax: number;
  /** Decoded size of one header list, names and values and 32 bytes for each pair. */
  readonly headerListBytesMax: number;
  readonly headerPairsMax: number;
  /** Streams that a client may reset at once, and then by the second. */
  readonly resetBurstMax: number;
  readonly resetsPerSecondMax: number;
  /** Frames that carry next to nothing (SETTINGS, DATA under `pieceBytesMin` that finishes no
   * message) that a client may send at once, and then by the second. */
  readonly idleFrameBurstMax: number;
  readonly idleFramesPerSecondMax: number;
  readonly pieceBytesMin: number;
  /** Malformed requests and empty DATA that are tolerated on one connection. */
  readonly invalidFramesMax: number;
  /** A client may ping this often while calls are open; earlier pings are strikes. */
  readonly pingIntervalMsMin: number;
  /** A client may ping this often while no call is open. */
  readonly pingIdleIntervalMsMin: number;
  /** Strikes that are forgiven; one more ends the connection. */
  readonly pingStrikesMax: number;
  /** The client's first SETTINGS must arrive this soon. */
  readonly handshakeMs: number;
  /** Our own pings (0: none), and how long the answer may take. */
  readonly keepaliveIntervalMs: number;
  readonly keepaliveTimeoutMs: number;
}

const kibibyte = 1024;
const mebibyte = 1024 * kibibyte;

export const defaultGrpcLimits: GrpcLimits = {
  // etcd: --max-request-bytes (1.5 MiB) and 512 KiB for what surrounds it.
  messageBytesMax: 2 * mebibyte,
  // As the HTTP side; 2 MiB in 30 s is 70 KiB/s.
  requestArrivalMs: 30_000,
  // 32 of the largest messages, interleaved by a client that sends them side by side.
  unfinishedBytesMax: 64 * mebibyte,
  // Large enough that a reading client never waits, small enough for thousands of connections.
  unreadBytesMax: 16 * mebibyte,
  // 1,000 watchers that never read must cost less than 64 MB; 16 KiB a turn is still 300 MB/s.
  sinkBytesMax: 16 * kibibyte,
  sinkOverrunBytesMax: mebibyte,
  requestQueueMax: 64,
  streamWindowBytes: mebibyte,
  connectionWindowBytes: 8 * mebibyte,
  // Clients that open one stream a watcher (jetcd) need hundreds beside their calls.
  streamsPerConnectionMax: 1_024,
  headerListBytesMax: 16 * kibibyte,
  headerPairsMax: 128,
  // A client that cancels every call still gets 30 a second.
  resetBurstMax: 900,
  resetsPerSecondMax: 30,
  // A Go client sends SETTINGS a few times as its window grows, and no message in small pieces.
  idleFrameBurstMax: 2_000,
  idleFramesPerSecondMax: 100,
  pieceBytesMin: 64,
  invalidFramesMax: 100,
  // etcd: --grpc-keepalive-min-time; without calls grpc-go wants two hours and allows two strikes.
  pingIntervalMsMin: 5_000,
  pingIdleIntervalMsMin: 7_200_000,
  pingStrikesMax: 2,
  handshakeMs: 5_000,
  // etcd: --grpc-keepalive-interval and --grpc-keepalive-timeout.
  keepaliveIntervalMs: 7_200_000,
  keepaliveTimeoutMs: 20_000,
};
