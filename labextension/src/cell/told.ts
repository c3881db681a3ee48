/** What an output tells of a value that stayed on a worker. Pure: outputs may be written by anything. */

export const MIME = 'application/vnd.cellferry.placeholder+json';

/** A name that may stand in `%remote fetch NAME`: an output, which anything may have written, decides no more than that. */
const NAME = /^[\p{L}_][\p{L}\p{N}_]*$/u;

export interface Told {
  readonly name: string;
  readonly type: string;
  readonly size_bytes: number;
  readonly worker: string;
  readonly reason: string;
}

/** What an output says of a placeholder; whatever is not as it should be is left out. */
export function readTold(data: unknown): Told {
  const found = (data && typeof data === 'object' ? data : {}) as { [name: string]: unknown };
  const text = (name: string) => (typeof found[name] === 'string' ? (found[name] as string) : '');
  const size = found.size_bytes;
  return {
    name: NAME.test(text('name')) ? text('name') : '',
    type: text('type'),
    size_bytes: typeof size === 'number' && size > 0 ? size : 0,
    worker: text('worker'),
    reason: text('reason')
  };
}
