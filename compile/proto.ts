import { spawnSync } from "node:child_process";
import { join } from "node:path";
import process from "node:process";

/** Generates proto/gen from proto/*.proto with buf and protoc-gen-es. Exits with buf's status. */
const root = join(import.meta.dirname, "..");
const bin = join(root, "node_modules", ".bin");
const template = {
  version: "v2",
  plugins: [{
    local: [process.execPath, join(bin, "protoc-gen-es")],
    out: join(root, "proto", "gen"),
    // The generated enums are not erasable syntax, which our own code has to be: hence ts_nocheck. Types are exported all
    // the same.
    opt: ["target=ts", "import_extension=ts", "ts_nocheck=true"],
  }],
};

const run = spawnSync(join(bin, "buf"), ["generate", join(root, "proto"), "--template", JSON.stringify(template)], {
  stdio: "inherit",
});
if (run.error !== undefined) throw run.error;
process.exit(run.status ?? 1);
