/** What the cells need to know from the server, behind one small door. */
import { ServerConnection } from '@jupyterlab/services';
import { ISignal, Signal } from '@lumino/signaling';

import { ask } from '../api';
import type { ILive } from '../live';
import type { ICheck, IOffer, IOffers, IRun, IWord, IWorker } from '../protocol';

import { LatestRuns } from './runs';
import { Price, workerFor } from './view';
import { isFree, offerWords } from './words';

export interface Sources {
  readonly workers: readonly IWorker[];
  readonly runs: readonly IRun[];
  /** Emitted when either list changed. */
  readonly changed: ISignal<unknown, unknown>;
  offers(words: string): Promise<readonly IOffer[]>;
  check(words: string): Promise<ICheck>;
  /** What may stand after `%%remote`. */
  known(): Promise<readonly IWord[]>;
}

const FRESH_MS = 10 * 60_000;
const AGAIN_MS = 60_000;

/** The runs by cell, worked out once for all notebooks, and only when they changed. */
export class RunIndex {
  constructor(private _sources: Sources) {}

  get latest(): LatestRuns {
    if (this._from !== this._sources.runs) {
      this._from = this._sources.runs;
      this._latest = new LatestRuns(this._from);
    }
    return this._latest;
  }

  private _from: readonly IRun[] | null = null;
  private _latest = new LatestRuns();
}

/** What targets cost: a running worker's price, else the cheapest offer's, asked for once in ten minutes. */
export class Prices {
  constructor(
    private _sources: Sources,
    private _nowMs: () => number = Date.now
  ) {}

  /** Emitted when a price that was asked for has come. */
  get changed(): ISignal<Prices, void> {
    return this._changed;
  }

  of(words: string, notebook: string): Price | null {
    const worker = workerFor(words, notebook, this._sources.workers);
    if (worker) {
      return { microusdPerHour: worker.microusd_per_hour, simulated: worker.simulated };
    }
    if (isFree(words)) {
      return null;
    }
    const wanted = offerWords(words);
    const known = this._known.get(wanted);
    if (!known || this._nowMs() > known.until) {
      this._known.set(wanted, { price: known?.price ?? null, until: this._nowMs() + AGAIN_MS });
      void this._ask(wanted);
    }
    return known?.price ?? null;
  }

  private async _ask(wanted: string): Promise<void> {
    let price: Price | null = null;
    let until = this._nowMs() + AGAIN_MS;
    try {
      const [best] = await this._sources.offers(wanted);
      until = this._nowMs() + FRESH_MS;
      if (best) {
        const spot = wanted.split(' ').includes('spot') ? best.spot_microusd_per_hour : null;
        const perHour = spot ?? best.microusd_per_hour;
        price = perHour === null ? null : { microusdPerHour: perHour, simulated: best.simulated };
      }
    } catch {
      // no server, or words that mean nothing: there is no price to show
    }
    this._known.set(wanted, { price, until });
    if (price) {
      this._changed.emit();
    }
  }

  private _known = new Map<string, { price: Price | null; until: number }>();
  private _changed = new Signal<Prices, void>(this);
}

const NONE: readonly never[] = [];

/** The real thing: the lists as the server pushes them, the rest by asking. */
export class LiveSources implements Sources {
  constructor(
    private _live: ILive,
    private _settings: ServerConnection.ISettings
  ) {
    _live.changed.connect(() => {
      if (_live.state.runs !== this._runs || _live.state.workers !== this._workers) {
        this._runs = _live.state.runs;
        this._workers = _live.state.workers;
        this._changed.emit();
      }
    });
  }

  get workers(): readonly IWorker[] {
    return this._live.state.workers ?? NONE;
  }

  get runs(): readonly IRun[] {
    return this._live.state.runs ?? NONE;
  }

  get changed(): ISignal<LiveSources, void> {
    return this._changed;
  }

  async offers(words: string): Promise<readonly IOffer[]> {
    return (await ask<IOffers>(this._settings, 'offers', 'POST', { words })).offers;
  }

  check(words: string): Promise<ICheck> {
    return ask<ICheck>(this._settings, 'check', 'POST', { words });
  }

  async known(): Promise<readonly IWord[]> {
    return (await ask<{ options: IWord[] }>(this._settings, 'words')).options;
  }

  private _runs: readonly IRun[] | null = null;
  private _workers: readonly IWorker[] | null = null;
  private _changed = new Signal<LiveSources, void>(this);
}
