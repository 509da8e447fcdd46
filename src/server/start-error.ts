// A start that is refused: one line for the operator that says what is wrong and what to do, and
// the exit code. No stack trace is shown: nothing here is a bug of the program.

export class StartError extends Error {
  override readonly name = "StartError";
  /** 2: the command line cannot be parsed; 1: every other refusal. As etcd. */
  readonly exitCode: 1 | 2;

  constructor(message: string, exitCode: 1 | 2 = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** For an address that cannot be had; `what` is the flag with its value. */
export function listenError(what: string, error: unknown): StartError {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "EADDRINUSE") {
    return new StartError(
      `cannot listen on ${what}: the address is in use; stop the other process or choose ` +
        "another port",
    );
  }
  const reason = error instanceof Error ? error.message : String(error);
  return new StartError(`cannot listen on ${what}: ${reason}`);
}
