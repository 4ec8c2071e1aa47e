/** Licences of everything inside the executable; undefined when it runs from source, where node_modules has them. */
export async function licenses(): Promise<string | undefined> {
  if (!Bun.isStandaloneExecutable) return undefined;
  return (await import("ambient:licenses")).default;
}
