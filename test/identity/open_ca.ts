/** Opens the CA of a directory and prints its root: run as several processes at once by embedded_ca.test.ts. */
import process from "node:process";
import { EmbeddedCa } from "../../src/identity/mod.ts";

const [directory = ""] = process.argv.slice(2);
process.stdout.write(await EmbeddedCa.open({ directory, trustDomain: "cluster.local" }).rootPem());
