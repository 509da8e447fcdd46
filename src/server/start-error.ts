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
