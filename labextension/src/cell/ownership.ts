/** Which browser tab writes how an output was made: one of them, or two would save the same notebook at once. */

export type Locks = Pick<LockManager, 'request'>;

/**
 * The tab that runs a cell is its writer. Where none does (the page was reloaded or closed meanwhile), it is the first
 * that sees the run; when that tab closes, the browser gives the right to the next.
 */
export class Writers {
  constructor(private _locks: Locks | undefined) {}

  /** This tab runs the cell, whoever wrote before. */
  take(cell: string): void {
    this._request(cell, { steal: true });
  }

  /** Stand in line for a cell; `granted` is called if the right comes later. */
  ask(cell: string, granted: () => void): void {
    if (!this._asked.has(cell)) {
      this._request(cell, {}, granted);
    }
  }

  mayWrite(cell: string): boolean {
    // Without locks (a page that is not served securely) each tab writes: the same, and at worst twice.
    return !this._locks || this._mine.has(cell);
  }

  /** Nothing is to be written any more. */
  release(cell: string): void {
    this._mine.get(cell)?.();
    this._mine.delete(cell);
    this._asked.delete(cell);
  }

  private _request(cell: string, how: LockOptions, granted?: () => void): void {
    if (!this._locks) {
      return;
    }
    this.release(cell);
    const token = {};
    this._asked.set(cell, token);
    const held = () => {
      if (this._asked.get(cell) !== token) {
        return undefined; // released before it came
      }
      const kept = new Promise<void>(resolve => this._mine.set(cell, resolve));
      granted?.();
      return kept;
    };
    this._locks.request(`cellferry:${cell}`, how, held).catch(() => {
      // another tab runs the cell now
      if (this._asked.get(cell) === token) {
        this._mine.delete(cell);
        this._asked.delete(cell);
      }
    });
  }

  private _mine = new Map<string, () => void>();
  private _asked = new Map<string, object>();
}
