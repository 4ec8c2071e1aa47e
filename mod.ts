import process from "node:process";
import { buildInfo, formatBuildInfo, HELP, licenses, parseCommand, type RunFlags } from "./src/cli/mod.ts";
import { loadConfig, loadWaypointConfig, PARSE_COMMAND, runParseCommand } from "./src/config/mod.ts";

/** Runs a mode to its end; the exit code. What must not be survived is told on standard error. */
async function run(flags: RunFlags): Promise<number> {
  try {
    return await (flags.mode === "waypoint" ? waypoint(flags) : ztunnel(flags));
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}

async function ztunnel(flags: RunFlags): Promise<number> {
  const loaded = await loadConfig(process.env, flags);
  if (!loaded.ok) return refuse(loaded.errors);
  const { runZtunnel } = await import("./src/ztunnel/mod.ts");
  return await runZtunnel(loaded.config);
}

async function waypoint(flags: RunFlags): Promise<number> {
  const loaded = await loadWaypointConfig(process.env, flags);
  if (!loaded.ok) return refuse(loaded.errors);
  const { runWaypoint } = await import("./src/waypoint/mod.ts");
  return await runWaypoint(loaded.config);
}

function refuse(errors: readonly string[]): number {
  for (const error of errors) process.stderr.write(`${error}\n`);
  return 1;
}

// Whoever reads the output may have enough of it: `ambient schema | head`.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

if (process.argv[2] === PARSE_COMMAND) {
  await runParseCommand();
  process.exit(0);
}
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
    const { schemaText } = await import("./src/cli/schema.ts");
    process.stdout.write(await schemaText());
    break;
  }
  case "explain": {
    const { runExplain } = await import("./src/cli/explain.ts");
    const { exitCode, stdout, stderr } = await runExplain(command.flags);
    process.stdout.write(stdout);
    process.stderr.write(stderr);
    process.exitCode = exitCode;
    break;
  }
  case "request": {
    const { runRequest } = await import("./src/cli/request.ts");
    const { exitCode, stdout, stderr } = await runRequest(command.flags);
    process.stdout.write(stdout);
    process.stderr.write(stderr);
    process.exitCode = exitCode;
    break;
  }
  case "wait": {
    const { runWait } = await import("./src/cli/wait.ts");
    const { exitCode, stdout, stderr } = await runWait(command.flags);
    process.stdout.write(stdout);
    process.stderr.write(stderr);
    process.exitCode = exitCode;
    break;
  }
  case "error":
    process.stderr.write(`${command.message}\nsee \`ambient help\`\n`);
    process.exitCode = 1;
    break;
  case "run":
    process.exit(await run(command.flags));
}
