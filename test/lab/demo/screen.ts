/** Fitting text into a terminal: what is longer than a line or a screen would scroll the rest away. */

/** Size of the terminal; infinite where output is none. */
export interface ScreenSize {
  readonly columns: number;
  readonly rows: number;
}

/** Parts of a picture, in the order in which they are shown. */
export interface Picture {
  readonly title: readonly string[];
  readonly table: readonly string[];
  /** Newest last, as much of it as there is room for. */
  readonly log: Section;
  /** Newest last; an entry is wrapped, for its end says what matters. */
  readonly notes: Section;
  readonly hints: readonly string[];
}

export interface Section {
  readonly title: string;
  readonly entries: readonly string[];
}

const ESCAPE = "\x1b[";
const COLOUR_OR_CHARACTER = new RegExp("\x1b\\[[0-9;]*m|[^]", "gu");
/** Rows of notes that are kept from a long access log. */
const NOTE_ROWS = 3;
const LOG_ROWS = 8;
const INDENT = "  ";
/** Narrower than this the indent would leave nothing for the text. */
const MIN_COLUMNS = 8;

/** The first `columns` characters of a line. Colours take no room, and end even where their text was cut. */
export function cut(line: string, columns: number): string {
  let room = columns;
  let text = "";
  for (const [token] of line.matchAll(COLOUR_OR_CHARACTER)) {
    if (token.startsWith(ESCAPE)) text += token;
    else if (room-- > 0) text += token;
  }
  return text;
}

/** A plain text in lines of at most `columns` (and at least 8) characters, broken between words where possible. */
export function wrap(text: string, columns: number): string[] {
  const width = Math.max(columns, MIN_COLUMNS);
  const lines: string[] = [];
  let rest = [...text];
  while (rest.length > width) {
    const space = rest.lastIndexOf(" ", width);
    const end = space > width / 2 ? space : width;
    lines.push(rest.slice(0, end).join(""));
    rest = [...`${INDENT}${rest.slice(end).join("").trimStart()}`];
  }
  return [...lines, rest.join("")];
}

/** The lines of a picture: no more, and none longer, than the terminal has. Logs give way to title, table and hints. */
export function compose(picture: Picture, { columns, rows }: ScreenSize): string[] {
  const { title, hints, log, notes } = picture;
  // The last row is the cursor's.
  const height = rows - 1;
  const table = picture.table.slice(0, Math.max(1, height - title.length - hints.length));
  const room = height - title.length - table.length - hints.length - 2;
  const gap = room >= LOG_ROWS + NOTE_ROWS + 4 ? [""] : [];
  const noteLines = newest(notes.entries, columns, Math.min(NOTE_ROWS, room));
  const logRows = Math.max(0, Math.min(LOG_ROWS, room - NOTE_ROWS));
  const logLines = logRows === 0 ? [] : log.entries.slice(-logRows);
  const sections = [[log.title, ...logLines], [notes.title, ...noteLines]];
  // A title without a line under it says nothing.
  const shown = sections.filter((lines) => lines.length > 1).flatMap((lines) => [...gap, ...lines]);
  return [...title, ...gap, ...table, ...shown, ...gap, ...hints].slice(0, height).map((line) => cut(line, columns));
}

/** The newest entries that fit completely; of the newest alone as much as fits. */
function newest(entries: readonly string[], columns: number, rows: number): string[] {
  let lines: string[] = [];
  for (const entry of entries.toReversed()) {
    const wrapped = wrap(entry, columns);
    if (lines.length > 0 && lines.length + wrapped.length > rows) break;
    lines = [...wrapped, ...lines];
  }
  return lines.slice(0, Math.max(0, rows));
}
