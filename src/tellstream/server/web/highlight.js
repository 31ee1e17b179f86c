// Colours in code: comments, strings, numbers and the common words of common languages.
//
// The browser paints ranges of the text (CSS custom highlights): no element is made, and nothing
// moves. One small pattern for all languages is right most of the time, which is enough to read by.

const LONGEST = 40_000; // characters of a block that is coloured
const KINDS = ["comment", "string", "number", "keyword"];

const HASH = "#[^\\n]*";
const SLASHES = "\\/\\/[^\\n]*|\\/\\*[^]*?(?:\\*\\/|$)";
const DASHES = "--[^\\n]*";
const STRINGS = `"""[^]*?(?:"""|$)|'''[^]*?(?:'''|$)|"(?:[^"\\\\\\n]|\\\\.)*"?|'(?:[^'\\\\\\n]|\\\\.)*'|\`(?:[^\`\\\\]|\\\\[^])*\`?`;
const NUMBERS = "\\b(?:0[xob][0-9a-f_]+|\\d[\\d_]*(?:\\.\\d+)?(?:e[+-]?\\d+)?)\\b";
const WORDS = `and|as|assert|async|await|begin|break|case|catch|class|const|continue|def|default|del|do|
  done|elif|else|end|enum|except|export|extends|fi|final|finally|fn|for|from|func|function|global|go|
  if|impl|implements|import|in|interface|is|lambda|let|match|mod|module|mut|namespace|new|nonlocal|
  not|of|or|package|pass|private|protected|public|pub|raise|return|self|static|struct|super|switch|
  then|this|throw|trait|try|type|typeof|use|using|var|void|while|with|yield|
  True|False|None|true|false|null|nil|undefined|
  SELECT|FROM|WHERE|JOIN|LEFT|INNER|ON|GROUP|ORDER|BY|INSERT|INTO|VALUES|UPDATE|SET|DELETE|CREATE|
  TABLE|AND|OR|NOT|NULL|AS|LIMIT|HAVING`.replace(/\s/g, "");

const COMMENTS = {
  hash: "python py bash sh shell zsh console ruby rb yaml yml toml dockerfile makefile perl r elixir nginx ini",
  slashes: "javascript js jsx typescript ts tsx java c cpp c++ cs csharp go rust rs swift kotlin scala php dart css scss json jsonc proto zig",
  dashes: "sql lua haskell hs elm ada",
};
const PATTERNS = new Map(Object.entries(COMMENTS).flatMap(([kind, languages]) => {
  const comment = {hash: HASH, slashes: SLASHES, dashes: DASHES}[kind];
  const pattern = new RegExp(`(${comment})|(${STRINGS})|(${NUMBERS})|\\b(${WORDS})\\b`, "g");
  return languages.split(" ").map((language) => [language, pattern]);
}));

/** Colours the finished code of an element. */
export function highlight(code, language) {
  const pattern = PATTERNS.get(language.toLowerCase());
  if (!pattern || !globalThis.CSS?.highlights || code.textContent.length > LONGEST) return;
  code.normalize();
  const text = code.firstChild;
  if (text?.nodeType !== Node.TEXT_NODE) return;
  for (const match of text.data.matchAll(pattern)) {
    const kind = KINDS.find((_, n) => match[n + 1] !== undefined);
    const range = new StaticRange({
      startContainer: text, startOffset: match.index,
      endContainer: text, endOffset: match.index + match[0].length,
    });
    painted(kind).add(range);
  }
}

function painted(kind) {
  if (!CSS.highlights.has(kind)) CSS.highlights.set(kind, new Highlight());
  return CSS.highlights.get(kind);
}

/** Forgets what was coloured in elements that are not on the page any more. */
export function forget() {
  for (const kind of KINDS) {
    for (const range of CSS.highlights?.get(kind) ?? []) {
      if (!range.startContainer.isConnected) CSS.highlights.get(kind).delete(range);
    }
  }
}
