/** CEL over the facts of a stream. The library behind it is loaded by the first expression that is compiled. */
export { compileExpression, type Expression } from "./expression.ts";
