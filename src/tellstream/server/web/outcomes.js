// How streams ended, in the order in which charts stack it.

const REASONS = {
  Stop: "Finished",
  ToolCalls: "Asked for a tool",
  Length: "Length limit",
  ContentFilter: "Content filter",
  Cancelled: "Cancelled",
  Error: "Failed",
  Other: "Other",
  Unknown: "Unknown",
};

const KINDS = [
  {name: "ended well", series: "well", reasons: ["Stop", "ToolCalls"]},
  {name: "cut short", series: "cut", reasons: ["Length", "ContentFilter"]},
  {name: "cancelled", series: "cancelled", reasons: ["Cancelled"]},
  {name: "failed", series: "failed", reasons: ["Error"]},
  {name: "ended otherwise", series: "otherwise", reasons: ["Other", "Unknown"]},
];

/** How many streams of a row ended for one of these reasons. */
const among = (row, reasons) =>
  reasons.reduce((sum, reason) => sum + (row.finish_reasons[reason] ?? 0), 0);

export const failed = (row) => among(row, ["Error"]);

/** The kinds of ends that these rows have: `{name, series, of}`, `of(row)` counts streams. */
export const kinds = (rows) => KINDS
  .map(({name, series, reasons}) => ({name, series, of: (row) => among(row, reasons)}))
  .filter(({of}) => rows.some(of));

/** The reasons that these rows have: `{name, of}`. */
export const reasons = (rows) => Object.entries(REASONS)
  .map(([reason, name]) => ({name, of: (row) => among(row, [reason])}))
  .filter(({of}) => rows.some(of));
