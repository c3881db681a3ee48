/** What the panel knows and does, without a pixel. */
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import { TranslationBundle } from '@jupyterlab/translation';
import { IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';

import { ApiError, ask } from '../api';
import { ILive, ILiveState } from '../live';
import { ICheck, IDoctorCheck, IOffers, IVersion, IWorker } from '../protocol';
import { VERSION } from '../version';

import { baseName } from './format';
import { Change, changes } from './math';

/** Something that did not work, and what to do about it. */
export interface IProblem {
  message: string;
  advice: string;
}

/** What the panel knows beside what is pushed. */
export interface IPanelState {
  /** The path of the notebook that is shown, "" for none. */
  readonly notebook: string;
  /** What its new remote cells ask for; "" for nothing. */
  readonly words: string;
  readonly problem: IProblem | null;
  /** The version of the server; null: not asked yet; "" where its part is not there. */
  readonly server: string | null;
  /** The last thing that happened, for those who listen. */
  readonly said: string;
}

const NOTHING: IPanelState = { notebook: '', words: '', problem: null, server: null, said: '' };

/** The panel's model: one for each page. */
export class PanelModel implements IDisposable {
  constructor(
    readonly live: ILive,
    readonly server: ServerConnection.ISettings,
    readonly trans: TranslationBundle
  ) {
    this.before = live.state;
    live.changed.connect(this.listen, this);
  }

  get state(): IPanelState {
    return this._state;
  }

  get changed(): ISignal<this, IPanelState> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  set(fields: Partial<IPanelState>): void {
    this._state = { ...this._state, ...fields };
    this._changed.emit(this._state);
  }

  /** Do it, and show what was wrong where it fails. Gives whether it worked. */
  async attempt(deed: () => Promise<unknown>): Promise<boolean> {
    try {
      await deed();
    } catch (error) {
      this.set({ problem: this.problemOf(error) });
      return false;
    }
    if (this._state.problem) {
      this.set({ problem: null });
    }
    return true;
  }

  problemOf(error: unknown): IProblem {
    if (error instanceof ApiError && error.status === 0) {
      return {
        message: this.trans.__('The Jupyter server does not answer.'),
        advice: this.trans.__('Look whether it still runs; the panel connects again by itself.')
      };
    }
    return {
      message: error instanceof Error ? error.message : String(error),
      advice: error instanceof ApiError ? error.advice : ''
    };
  }

  // ---- questions ----

  offers(words: string): Promise<IOffers> {
    return ask(this.server, 'offers', 'POST', { words });
  }

  check(words: string): Promise<ICheck> {
    return ask(this.server, 'check', 'POST', { words });
  }

  async doctor(): Promise<IDoctorCheck[]> {
    return (await ask<{ checks: IDoctorCheck[] }>(this.server, 'doctor', 'POST', {})).checks;
  }

  async logs(worker: string, which: 'worker' | 'kernel'): Promise<string> {
    const path = `workers/${encodeURIComponent(worker)}/logs?which=${which}`;
    return (await ask<{ text: string }>(this.server, path)).text;
  }

  /** Ask the server's version. Nothing is wrong where the server cannot be reached: it is asked again then. */
  async askVersion(): Promise<void> {
    try {
      this.set({ server: (await ask<IVersion>(this.server, 'version')).version });
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) {
        this.set({ server: '' });
      }
    }
  }

  /** What to type where front and back are not of one version; null where they are. */
  versionProblem(): (IProblem & { command: string }) | null {
    const server = this._state.server;
    if (server === null || server === VERSION) {
      return null;
    }
    if (server === '') {
      return {
        message: this.trans.__('The part of cellferry that runs in the Jupyter server is not there.'),
        advice: this.trans.__('Run this where Jupyter runs, and start Jupyter again:'),
        command: 'jupyter server extension enable cellferry.jupyter.server'
      };
    }
    const newer = isNewer(VERSION, server) ? VERSION : server;
    return {
      message: this.trans.__('This page is cellferry %1, the Jupyter server has %2.', VERSION, server),
      advice: this.trans.__('Run this where Jupyter runs, start Jupyter again, then load this page anew:'),
      command: `pip install --upgrade "cellferry==${newer}"`
    };
  }

  // ---- deeds ----

  start(words: string): Promise<unknown> {
    return ask(this.server, 'workers', 'POST', { words, notebook: this._state.notebook });
  }

  extend(worker: IWorker, usd: number): Promise<unknown> {
    return ask(this.server, `workers/${encodeURIComponent(worker.id)}/extend`, 'POST', { usd });
  }

  interrupt(worker: IWorker): Promise<unknown> {
    return ask(this.server, `workers/${encodeURIComponent(worker.id)}/interrupt`, 'POST', {});
  }

  end(worker: IWorker): Promise<unknown> {
    return ask(this.server, `workers/${encodeURIComponent(worker.id)}`, 'DELETE');
  }

  setLimit(period: string, usd: number | null, notebook: string): Promise<unknown> {
    return ask(this.server, 'budget', 'PUT', { period, usd, notebook });
  }

  /** Settings for JupyterLab's own terminals, which are those of a worker then. */
  terminalSettings(worker: IWorker): ServerConnection.ISettings {
    const place = `cellferry/api/workers/${encodeURIComponent(worker.id)}/terminals/`;
    return {
      ...this.server,
      baseUrl: URLExt.join(this.server.baseUrl, place),
      wsUrl: URLExt.join(this.server.wsUrl, place)
    };
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      Signal.clearData(this);
    }
  }

  private listen(_: ILive, state: ILiveState): void {
    const said = changes(this.before, state).map(change => this.words(change));
    if (state.connected && !this.before.connected) {
      void this.askVersion(); // it may be another one after a restart
    }
    this.before = state;
    if (said.length) {
      this.set({ said: said.join(' ') });
    }
  }

  private words(change: Change): string {
    const trans = this.trans;
    switch (change.what) {
      case 'ready':
        return trans.__('Worker %1 is ready.', change.worker);
      case 'starting':
        return trans.__('Worker %1 is starting.', change.worker);
      case 'failed':
        return trans.__('Worker %1 could not be started.', change.worker);
      case 'ended':
        return trans.__('Worker %1 has ended.', change.worker);
      default: {
        const where = `${baseName(change.run.notebook)} [${change.run.number || ''}]`;
        return change.run.status === 'ok'
          ? trans.__('Cell %1 has finished.', where)
          : trans.__('Cell %1 has ended with an error.', where);
      }
    }
  }

  private before: ILiveState;
  private _state = NOTHING;
  private _isDisposed = false;
  private readonly _changed = new Signal<this, IPanelState>(this);
}

/** Whether version `a` ("1.10.0") is later than `b`. */
export function isNewer(a: string, b: string): boolean {
  const numbers = (text: string) => text.split(/[^0-9]+/).map(Number);
  const [left, right] = [numbers(a), numbers(b)];
  for (let n = 0; n < Math.max(left.length, right.length); n++) {
    if ((left[n] || 0) !== (right[n] || 0)) {
      return (left[n] || 0) > (right[n] || 0);
    }
  }
  return false;
}
