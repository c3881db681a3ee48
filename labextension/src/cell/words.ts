/** The words of a request: where they stand in a cell, and what they mean to someone who looks. Pure. */
import type { IWord } from '../protocol';

const FIRST_LINE = /^(\s*)%%remote(?:[ \t]+([^\r\n]*))?(?=\r?\n|$)/;
const LINE_MAGIC = /^\s*%remote(?![\w%])/;

/** How a cell says where it runs: by its settings, by its first line, or not at all. */
export type Said = 'settings' | 'line' | 'nothing';

export interface Target {
  readonly said: Said;
  /** The words after `%%remote`; `null` for a cell that runs in the notebook's own kernel. */
  readonly words: string | null;
}

/** What `metadata.cellferry` of a cell may hold. */
export interface CellSettings {
  remote?: string;
  provenance?: unknown;
}

/** The words on the `%%remote` line of a cell; `null` if it has none. */
export function lineWords(source: string): string | null {
  const found = FIRST_LINE.exec(source);
  return found ? (found[2] ?? '').trim() : null;
}

/** The cell's text with these words on its `%%remote` line; `null` takes the line away. */
export function withLine(source: string, words: string | null): string {
  const body = source.replace(/^(\s*)%%remote(?:[ \t][^\r\n]*)?(\r?\n|$)/, '');
  if (words === null) {
    return body;
  }
  return `${['%%remote', words.trim()].filter(Boolean).join(' ')}\n${body}`;
}

/** Where a cell runs, as the kernel reads it: its own magic counts more than its settings. */
export function targetOf(source: string, settings: CellSettings | undefined): Target {
  const line = lineWords(source);
  if (line !== null) {
    return { said: 'line', words: line };
  }
  const words = settings?.remote;
  if (typeof words === 'string' && source.trim() !== '' && !LINE_MAGIC.test(source)) {
    return { said: 'settings', words: words.trim() };
  }
  return { said: 'nothing', words: null };
}

/** The settings that were written, also where the kernel would not obey them (an empty cell). */
export function writtenWords(source: string, settings: CellSettings | undefined): string | null {
  const line = lineWords(source);
  return line ?? (typeof settings?.remote === 'string' ? settings.remote : null);
}

/** `gpu=a100 "files=a b" spot` as pairs; a flag has the value `''`. */
export function options(words: string): ReadonlyMap<string, string> {
  let found = READ.get(words);
  if (!found) {
    if (READ.size >= MOST_READ) {
      READ.clear();
    }
    found = read(words);
    READ.set(words, found);
  }
  return found;
}

// All cells are looked at whenever a run begins or ends; few of them have words of their own.
const READ = new Map<string, ReadonlyMap<string, string>>();
const MOST_READ = 500;

function read(words: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const word of words.match(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g) ?? []) {
    if (word.startsWith('#')) {
      break;
    }
    const plain = word.replace(/["']/g, '');
    const at = plain.indexOf('=');
    found.set(at < 0 ? plain : plain.slice(0, at), at < 0 ? '' : plain.slice(at + 1));
  }
  return found;
}

/** The shortest name of what is asked for: `a100`, `8× h100`, `train`, `16 CPUs`; `''` for a plain worker. */
export function shortName(words: string): string {
  const asked = options(words);
  const [gpu, count] = (asked.get('gpu') ?? '').split(':');
  if (gpu) {
    return count && count !== '1' ? `${count}× ${gpu}` : gpu;
  }
  const cpus = asked.get('cpus');
  return (
    asked.get('name') ||
    asked.get('host') ||
    (asked.get('provider') !== 'local' && asked.get('provider')) ||
    (cpus ? `${cpus} CPUs` : '')
  );
}

/** Whether a worker for these words is, without further ado, a free process of this machine. */
export function isFree(words: string): boolean {
  const asked = options(words);
  const where = asked.get('provider');
  return where ? where === 'local' : !asked.has('gpu') && !asked.has('host');
}

/** What keeps offers apart: hardware and place, not what is spent or brought home. */
export function offerWords(words: string): string {
  const kept = ['gpu', 'cpus', 'memory', 'disk', 'provider', 'region', 'host', 'spot'];
  const asked = options(words);
  return kept
    .filter(key => asked.has(key))
    .map(key => (asked.get(key) ? `${key}=${asked.get(key)}` : key))
    .join(' ');
}

/** What the field may hold next: its text with the last, unfinished word completed, and what each stands for. */
export function completions(text: string, known: readonly IWord[]): { value: string; label: string }[] {
  const before = text.slice(0, text.length - (/\S*$/.exec(text)?.[0].length ?? 0));
  const begun = text.slice(before.length);
  const given = options(before);
  return known
    .filter(word => !given.has(word.name) && word.example.startsWith(begun) && word.example !== begun)
    .map(word => ({ value: before + word.example, label: word.meaning }));
}
