import { Logger, type LogSink } from "../../src/telemetry/mod.ts";

/** Keeps what a logger writes. */
export class KeptLines implements LogSink {
  text = "";
  write(text: string): void {
    this.text += text;
  }
  flush(): void {}
}

/** A logger of its own and a way to read its lines, each without its time stamp (which must be well formed). */
export function keptLogger(options: { directives?: string; format?: "plain" | "json" } = {}) {
  const sink = new KeptLines();
  const logger = new Logger(sink);
  const refused = logger.configure(options);
  if (refused !== undefined) throw new Error(refused);
  const lines = () => {
    logger.flush();
    const text = sink.text;
    sink.text = "";
    if (text !== "" && !text.endsWith("\n")) throw new Error("the last line has no end");
    return text.split("\n").slice(0, -1).map((line) => {
      const without = logger.format === "plain"
        ? line.replace(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\t/, "")
        : line.replace(/"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z",/, "");
      if (without === line) throw new Error(`no time stamp in ${line}`);
      return without;
    });
  };
  return { logger, lines };
}
