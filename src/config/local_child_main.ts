/** The child of local_child.ts where there is no compiled executable that could be its own child. */
import { runParseCommand } from "./local_child.ts";

await runParseCommand();
