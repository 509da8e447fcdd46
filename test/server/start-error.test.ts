import { expect, test } from "vitest";
import { StartError, listenError } from "../../src/server/start-error.ts";

test("listenError says what to do about an address in use", () => {
  const error = listenError(
    "--x=http://h:1",
    Object.assign(new Error("bind"), { code: "EADDRINUSE" }),
  );
  expect(error).toBeInstanceOf(StartError);
  expect([error.exitCode, error.message]).toEqual([
    1,
    "cannot listen on --x=http://h:1: the address is in use; stop the other process or choose " +
      "another port",
  ]);
});

test("listenError passes on what else the system says", () => {
  expect(listenError("--x", new Error("listen EACCES")).message).toBe(
    "cannot listen on --x: listen EACCES",
  );
});
