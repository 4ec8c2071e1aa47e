const encoder = new TextEncoder();

/** A body of what `pieces` yields, as UTF-8. Each piece is made only when the client has room for it, between other work. */
export function streamed(pieces: Iterator<string>): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    async pull(controller) {
      // Without this a fast client would be served in one go, however long that takes.
      await new Promise((resume) => setImmediate(resume));
      const { done, value } = pieces.next();
      if (done) controller.close();
      else controller.enqueue(encoder.encode(value));
    },
  });
}
