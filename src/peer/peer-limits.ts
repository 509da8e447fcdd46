// Limits and times of the peer connections. None is an operator's: members must agree on what they
// may send each other.

export const peerLimits = Object.freeze({
  /** One frame's payload. */
  frameBytesMax: 16 << 20,
  /** The same before the handshake is done. */
  handshakeBytesMax: 16 << 10,
  /** Messages are put into one frame up to here; the last one may pass it. */
  frameBytesTarget: 2 << 20,
  /** The largest command of a client: one that no frame can carry would stop the log for ever. */
  commandBytesMax: 10 << 20,
  /** Waiting for one peer on one channel; more is dropped. */
  outgoingCountMax: 8192,
  outgoingBytesMax: 64 << 20,
  /** From the dial to the answered Hello, and from the connection to the Hello. */
  handshakeMs: 5000,
  /** Each side says something this often, and takes the other for gone after so much silence. */
  pingMs: 5000,
  silenceMs: 10_000,
  reconnectMsMin: 50,
  reconnectMsMax: 1000,
  /** Lease calls on one connection that are not answered yet, and how long one may take. */
  callsMax: 4096,
  callMs: 2000,
  /** Connections that the peer port holds, strangers' included. */
  connectionsMax: 1024,
});
