const encoder = new TextEncoder();

/**
 * A body of what `pieces` yields, as UTF-8. Each piece is made only when the client has room for it, between other work;
 * an empty one is just such a pause.
 */
export function streamed(pieces: Iterator<string>): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    async pull(controller) {
      for (;;) {
        // Without this a fast client would be served in one go, however long that takes.
        await new Promise((resume) => setImmediate(resume));
        const { done, value } = pieces.next();
        if (done) return controller.close();
        if (value !== "") return controller.enqueue(encoder.encode(value));
      }
    },
  });
}
