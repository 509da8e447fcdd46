// The watch hub's transcripts. Commands: test/server/watch-commands.ts.
import { testTranscripts } from "../transcript.ts";
import { startWatchCommands } from "./watch-commands.ts";

testTranscripts("watch", startWatchCommands);
