/** The words that this user chose lately, in all notebooks. */

const KEPT = 'cellferry:recent-words';
const MOST = 8;

export type Shelf = Pick<Storage, 'getItem' | 'setItem'>;

export class Recent {
  constructor(private _shelf: Shelf | null = shelf()) {}

  get all(): readonly string[] {
    try {
      const kept: unknown = JSON.parse(this._shelf?.getItem(KEPT) ?? '[]');
      return Array.isArray(kept)
        ? kept.filter((one): one is string => typeof one === 'string').slice(0, MOST)
        : [];
    } catch {
      return [];
    }
  }

  add(words: string): void {
    try {
      this._shelf?.setItem(
        KEPT,
        JSON.stringify([words, ...this.all.filter(one => one !== words)].slice(0, MOST))
      );
    } catch {
      // nothing can be kept in this browser: it is a convenience
    }
  }
}

function shelf(): Shelf | null {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}
