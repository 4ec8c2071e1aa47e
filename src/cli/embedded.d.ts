/** Made by compile/executable.ts. */
declare module "ambient:licenses" {
  const text: string;
  export default text;
}
