import process from "node:process";
import { buildInfo, formatBuildInfo, HELP, licenses, parseCommand } from "./src/cli/mod.ts";
import { loadConfig } from "./src/config/mod.ts";

const command = parseCommand(process.argv.slice(2));
switch (command.kind) {
  case "help":
    process.stdout.write(HELP);
    break;
  case "version":
    process.stdout.write(
      command.licenses
        ? await licenses() ?? "The licences are in the packages under node_modules.\n"
        : `${formatBuildInfo(buildInfo())}\n`,
    );
    break;
  case "schema": {
    const { printSchema } = await import("./src/cli/schema.ts");
    printSchema();
    break;
  }
  case "error":
    process.stderr.write(`${command.message}\n\n${HELP}`);
    process.exitCode = 1;
    break;
  case "run": {
    const loaded = await loadConfig(process.env, command.flags);
    if (!loaded.ok) {
      for (const error of loaded.errors) process.stderr.write(`${error}\n`);
      process.exit(1);
    }
    const { runZtunnel } = await import("./src/ztunnel/mod.ts");
    try {
      process.exit(await runZtunnel(loaded.config));
    } catch (error) {
      process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
      process.exit(1);
    }
  }
}
