/** The cells of all open notebooks: each looks again when, and only when, something that it may show has changed. */
import { Cell, CodeCell } from '@jupyterlab/cells';
import { INotebookTracker, NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';

import { Writers } from './ownership';
import { CellPlace, Surroundings } from './place';
import type { IRun } from '../protocol';
import { Prices, RunIndex, Sources } from './sources';

const TICK_MS = 1000;

/** What happens at a cell that the user acts on; see `actions.ts`. */
export interface Acts {
  choose(panel: NotebookPanel, places: readonly CellPlace[], anchor: HTMLElement): Promise<boolean>;
  attach(panel: NotebookPanel, place: CellPlace, run: string): Promise<void>;
}

export class Places {
  constructor(
    private _tracker: INotebookTracker,
    sources: Sources,
    private _acts: Acts,
    private _trans: TranslationBundle
  ) {
    this._index = new RunIndex(sources);
    this._prices = new Prices(sources);
    sources.changed.connect(this._refreshAll, this);
    this._prices.changed.connect(this._refreshAll, this);
    NotebookActions.executionScheduled.connect((_, { cell }) => this.of(cell)?.scheduled());
    NotebookActions.executed.connect((_, { cell }) => this.of(cell)?.executed());
    _tracker.forEach(panel => this._watch(panel));
    _tracker.widgetAdded.connect((_, panel) => this._watch(panel));
    _tracker.currentChanged.connect(() => this._tick());
    document.addEventListener('visibilitychange', () => this._tick());
  }

  /** The place of a code cell of an open notebook. */
  of(cell: Cell): CellPlace | null {
    const known = this._places.get(cell);
    if (known || !(cell instanceof CodeCell)) {
      return known ?? null;
    }
    const panel = this._tracker.find(one => one.content.widgets.includes(cell));
    return panel ? this._add(panel, cell) : null;
  }

  private _watch(panel: NotebookPanel): void {
    const sync = () => this._sync(panel);
    const follow = () => {
      panel.content.model?.cells.changed.connect(sync);
      sync();
    };
    panel.content.modelChanged.connect(follow);
    panel.context.pathChanged.connect(() => this._refresh(panel));
    void panel.revealed.then(follow);
    follow();
  }

  /** Cells come and go together (a notebook opens, a paste): look once, when that is over. */
  private _sync(panel: NotebookPanel): void {
    if (!this._waiting.has(panel)) {
      this._waiting.add(panel);
      setTimeout(() => {
        this._waiting.delete(panel);
        if (!panel.isDisposed) {
          panel.content.widgets.forEach(cell => {
            if (cell instanceof CodeCell && !this._places.has(cell)) {
              this._add(panel, cell);
            }
          });
        }
      });
    }
  }

  private _add(panel: NotebookPanel, cell: CodeCell): CellPlace {
    const index = this._index;
    const acts = this._acts;
    const around: Surroundings = {
      get path() {
        return pathOf(panel);
      },
      get readOnly() {
        return panel.content.model?.readOnly ?? true;
      },
      prices: this._prices,
      writers: this._writers,
      trans: this._trans,
      runOf: (id: string): IRun | undefined => index.latest.of(pathOf(panel), id),
      choose: (place, anchor) => void acts.choose(panel, [place], anchor),
      attach: (place, run) => acts.attach(panel, place, run)
    };
    const place = new CellPlace(cell, around);
    this._places.set(cell, place);
    place.changed.connect(() => this._tick());
    place.refresh();
    this._tick();
    return place;
  }

  private _refreshAll(): void {
    this._tracker.forEach(panel => this._refresh(panel));
    this._tick();
  }

  private _refresh(panel: NotebookPanel): void {
    panel.content.widgets.forEach(cell => this._places.get(cell)?.refresh());
  }

  /** One clock for all cells, which stands still while none of them runs or nobody looks. */
  private _tick(): void {
    if (this._timer !== null || document.hidden) {
      return;
    }
    if (this._ticking().length) {
      this._timer = window.setTimeout(() => {
        this._timer = null;
        this._ticking().forEach(place => place.refresh());
        this._tick();
      }, TICK_MS);
    }
  }

  private _ticking(): CellPlace[] {
    const found: CellPlace[] = [];
    this._tracker.forEach(panel => {
      if (panel.isVisible) {
        panel.content.widgets.forEach(cell => {
          const place = this._places.get(cell);
          if (place?.isTicking) {
            found.push(place);
          }
        });
      }
    });
    return found;
  }

  private readonly _index: RunIndex;
  private readonly _prices: Prices;
  private readonly _writers = new Writers(navigator.locks);
  private readonly _places = new WeakMap<Cell, CellPlace>();
  private readonly _waiting = new Set<NotebookPanel>();
  private _timer: number | null = null;
}

/** The notebook's path as the server knows it, without the name of a drive. */
export function pathOf(panel: NotebookPanel): string {
  return panel.context.localPath;
}
