/** One code cell: where it runs, what its run does, and what is kept of it. */
import { CodeCell, ICodeCellModel } from '@jupyterlab/cells';
import type { TranslationBundle } from '@jupyterlab/translation';
import { PanelLayout } from '@lumino/widgets';
import { ISignal, Signal } from '@lumino/signaling';

import { Line, Place } from './chip';
import { Writers } from './ownership';
import {
  Provenance,
  costNow,
  hasEnded,
  isActive,
  isUnclaimed,
  provenanceOf,
  readProvenance,
  toWrite
} from './runs';
import type { IRun } from '../protocol';
import { Prices } from './sources';
import { View, viewOf } from './view';
import { CellSettings, Target, targetOf, withLine } from './words';

export const KEY = 'cellferry';
const TYPED_MS = 400;

export interface Surroundings {
  /** The notebook's path, as the server knows it. */
  readonly path: string;
  readonly readOnly: boolean;
  readonly prices: Prices;
  readonly writers: Writers;
  readonly trans: TranslationBundle;
  runOf(cell: string): IRun | undefined;
  choose(place: CellPlace, anchor: HTMLElement): void;
  attach(place: CellPlace, run: string): Promise<void>;
}

export function settingsOf(model: ICodeCellModel): CellSettings {
  const found = model.getMetadata(KEY);
  return found && typeof found === 'object' ? found : {};
}

/** Write what differs, and only then: a notebook that did not change must not ask to be saved. */
export function writeSettings(model: ICodeCellModel, changes: CellSettings): void {
  const before = settingsOf(model);
  const after: { [name: string]: unknown } = { ...before, ...changes };
  for (const name of Object.keys(after)) {
    if (after[name] === undefined) {
      delete after[name];
    }
  }
  if (JSON.stringify(after) === JSON.stringify(before)) {
    return;
  }
  if (Object.keys(after).length) {
    model.setMetadata(KEY, after);
  } else {
    model.deleteMetadata(KEY);
  }
}

export class CellPlace implements Place {
  constructor(
    readonly cell: CodeCell,
    readonly around: Surroundings
  ) {
    this.cell.model.metadataChanged.connect(this.refresh, this);
    this.cell.model.contentChanged.connect(this._typed, this);
    this.cell.model.stateChanged.connect(this.refresh, this);
    this.cell.disposed.connect(() => Signal.clearData(this));
    void this.cell.ready.then(() => this._addLine());
    this._view = this._look();
  }

  get view(): View {
    return this._view;
  }

  get changed(): ISignal<CellPlace, void> {
    return this._changed;
  }

  get id(): string {
    return this.cell.model.id;
  }

  get target(): Target {
    return targetOf(this.cell.model.sharedModel.getSource(), settingsOf(this.cell.model));
  }

  /** Kept in the notebook; `null` where there is none, or it is of no output that one could see. */
  get provenance(): Provenance | null {
    const shown = this.cell.model.executionCount !== null || this.cell.model.outputs.length > 0;
    return shown ? readProvenance(settingsOf(this.cell.model).provenance) : null;
  }

  /** Something that has to be told every second goes on here. */
  get isTicking(): boolean {
    return this._view.tone === 'active' || this._view.tone === 'waiting';
  }

  /** Run elsewhere from now on, or here (`null`). A cell that says so in its text goes on saying it there. */
  setWords(words: string | null, inText = this.target.said === 'line'): void {
    const shared = this.cell.model.sharedModel;
    if (inText) {
      const source = shared.getSource();
      const changed = withLine(source, words);
      if (changed !== source) {
        shared.setSource(changed);
      }
    }
    writeSettings(this.cell.model, { remote: inText || words === null ? undefined : words.trim() });
  }

  choose(anchor: HTMLElement): void {
    this.around.choose(this, anchor);
  }

  attach(run: string): Promise<void> {
    return this.around.attach(this, run);
  }

  /** This tab runs the cell. */
  scheduled(): void {
    this._ranHere = true;
    if (this.target.words !== null) {
      this.around.writers.take(this._lock);
    }
  }

  /** The kernel has answered; a cell that ran here keeps nothing of an earlier one that ran elsewhere. */
  executed(): void {
    if (this.target.words === null && this._ranHere && !this.around.readOnly) {
      this._localSinceS = Date.now() / 1000;
      writeSettings(this.cell.model, { provenance: undefined });
    }
  }

  /** Outputs of a run that went on without anybody are coming into this cell. */
  attaching(on: boolean): void {
    this._attaching = on;
    this.cell.setPrompt(on ? '*' : `${this.cell.model.executionCount ?? ''}`);
    if (on) {
      this.around.writers.take(this._lock);
    }
    this.refresh();
  }

  /** They have come, all of them where it is `ok`. The worker of an earlier kernel may end with that, and tell no more. */
  attached(run: IRun | undefined, ok: boolean): void {
    const known = this.run?.run === run?.run ? this.run : run;
    if (ok && known && !this.around.readOnly && !(hasEnded(known) && !isUnclaimed(known))) {
      const nowS = Date.now() / 1000;
      const status = hasEnded(known) ? known.status : 'ok';
      const ended = { ...known, status, unclaimed: false, ended_unix_s: known.ended_unix_s ?? nowS };
      writeSettings(this.cell.model, {
        provenance: provenanceOf({ ...ended, microusd: costNow(known, nowS) })
      });
    }
  }

  /** The cell's latest run. */
  get run(): IRun | undefined {
    return this.around.runOf(this.id);
  }

  /** Look again: something that this cell shows may be different. */
  refresh(): void {
    if (this.cell.isDisposed) {
      return;
    }
    this._keep();
    const view = this._look();
    const before = this._view;
    if ((Object.keys(view) as (keyof View)[]).some(name => !same(view[name], before[name]))) {
      this._view = view;
      this._changed.emit();
    }
  }

  /** Words that are still being typed are nothing to ask prices for. */
  private _typed(): void {
    window.clearTimeout(this._typing);
    this._typing = window.setTimeout(() => this.refresh(), TYPED_MS);
  }

  private _look(): View {
    const { around, target } = this;
    const price = target.words === null ? null : around.prices.of(target.words, around.path);
    const { provenance, _attaching: attaching } = this;
    const found = this.run;
    // what is known to have ended has ended, should an older notice of it arrive late
    const run = found && found.run === provenance?.run ? undefined : found;
    const known = { target, price, run, provenance, attaching, nowS: Date.now() / 1000 };
    return viewOf(known, around.trans);
  }

  private get _lock(): string {
    return `${this.around.path}#${this.id}`;
  }

  /** Write how the output was made, if a run has ended of which the notebook knows nothing yet. */
  private _keep(): void {
    const run = this.run;
    if (!run || this.around.readOnly || this._isOutdated(run)) {
      return;
    }
    const next = toWrite(run, settingsOf(this.cell.model).provenance);
    if (next || isActive(run)) {
      this.around.writers.ask(this._lock, () => this.refresh());
    }
    if (next && this.around.writers.mayWrite(this._lock)) {
      writeSettings(this.cell.model, { provenance: next });
    }
    if (!next && !isActive(run)) {
      this.around.writers.release(this._lock);
    }
  }

  /** The cell has run in the notebook's own kernel since, as far as one can tell: its output is not of that run. */
  private _isOutdated(run: IRun): boolean {
    return (
      hasEnded(run) &&
      !this._attaching &&
      (this.target.words === null || run.began_unix_s < this._localSinceS)
    );
  }

  private _addLine(): void {
    const layout = this.cell.layout;
    if (this.cell.isDisposed || !(layout instanceof PanelLayout)) {
      return;
    }
    const after = layout.widgets.findIndex(widget => widget.hasClass('jp-Cell-inputWrapper'));
    layout.insertWidget(after + 1, new Line(this, this.around.trans));
  }

  private _view: View;
  private _typing = 0;
  private _ranHere = false;
  private _attaching = false;
  private _localSinceS = 0;
  private _changed = new Signal<CellPlace, void>(this);
}

function same(one: unknown, other: unknown): boolean {
  return one === other || JSON.stringify(one) === JSON.stringify(other);
}
