/** What goes on, as the server pushes it: one socket, which comes back by itself, and the latest of every section. */
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import { JSONExt, Token } from '@lumino/coreutils';
import { IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';

import { IBudget, IMetrics, IRun, ISample, IWorker, LiveMessage } from './protocol';

/** How far back the plots go. */
export const HISTORY_S = 15 * 60;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;

/** The last 15 minutes of one worker; `next` is the number of the row that comes after them. */
export interface IHistory {
  readonly next: number;
  readonly rows: readonly ISample[];
}

/** What is known now. A section is null until the server has told it; what did not change keeps its identity. */
export interface ILiveState {
  readonly connected: boolean;
  readonly workers: readonly IWorker[] | null;
  readonly runs: readonly IRun[] | null;
  readonly budget: IBudget | null;
  readonly metrics: ReadonlyMap<string, IHistory>;
}

export const NOTHING: ILiveState = {
  connected: false,
  workers: null,
  runs: null,
  budget: null,
  metrics: new Map()
};

/** The list that is new, with the old object for everything in it that is as it was (or the old list itself). */
export function keepEqual<T>(
  old: readonly T[] | null,
  fresh: readonly T[],
  key: (item: T) => string
): readonly T[] {
  if (!old) {
    return fresh;
  }
  const known = new Map(old.map(item => [key(item), item]));
  const kept = fresh.map(item => {
    const before = known.get(key(item));
    return before && JSONExt.deepEqual(before as any, item as any) ? before : item;
  });
  return kept.length === old.length && kept.every((item, n) => item === old[n]) ? old : kept;
}

/** The history with these rows: gone on with, or begun anew where numbers do not fit; nothing older than 15 minutes. */
export function extend(old: IHistory | undefined, fresh: IMetrics): IHistory {
  const goesOn = old !== undefined && fresh.from <= old.next && fresh.from + fresh.rows.length >= old.next;
  const rows = goesOn ? [...old.rows, ...fresh.rows.slice(old.next - fresh.from)] : [...fresh.rows];
  const oldest = rows.length ? rows[rows.length - 1].at_unix_s - HISTORY_S : 0;
  const first = rows.findIndex(row => row.at_unix_s >= oldest);
  return { next: fresh.from + fresh.rows.length, rows: first > 0 ? rows.slice(first) : rows };
}

/** The state after one message; the same state where it says nothing new. */
export function reduce(state: ILiveState, message: LiveMessage): ILiveState {
  switch (message.section) {
    case 'workers': {
      const workers = keepEqual(state.workers, message.data, worker => worker.id);
      return workers === state.workers ? state : { ...state, workers };
    }
    case 'runs': {
      const runs = keepEqual(state.runs, message.data, run => run.run);
      return runs === state.runs ? state : { ...state, runs };
    }
    case 'budget':
      return state.budget && JSONExt.deepEqual(state.budget as any, message.data as any)
        ? state
        : { ...state, budget: message.data };
    case 'metrics': {
      const metrics = new Map(state.metrics);
      metrics.set(message.data.worker, extend(metrics.get(message.data.worker), message.data));
      return { ...state, metrics };
    }
    default:
      return state; // a section that a later server sends
  }
}

/** How long to wait before the next try, in milliseconds: doubled each time, and not at once for every tab. */
export function waitBefore(attempt: number, random: () => number = Math.random): number {
  return Math.min(FIRST_WAIT_MS * 2 ** attempt, LONGEST_WAIT_MS) * (0.75 + random() / 2);
}

/** What goes on, for whoever wants to show it. */
export interface ILive {
  readonly state: ILiveState;
  readonly changed: ISignal<ILive, ILiveState>;
  /** Have the numbers of these workers pushed as well, for as long as `who` (any name) asks for them. */
  watch(who: string, workers: readonly string[]): void;
  /** Connect (again) now. */
  connect(): void;
}

export const ILive = new Token<ILive>(
  '@cellferry/lab:ILive',
  'What goes on at the workers, as the server pushes it.'
);

/** The socket's client. Made once; `connect` begins. */
export class Live implements ILive, IDisposable {
  constructor(private readonly settings: ServerConnection.ISettings) {
    this.online = () => this.connect();
    window.addEventListener('online', this.online);
  }

  get state(): ILiveState {
    return this._state;
  }

  get changed(): ISignal<this, ILiveState> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  watch(who: string, workers: readonly string[]): void {
    const before = this.watched();
    if (workers.length) {
      this.watchers.set(who, workers);
    } else {
      this.watchers.delete(who);
    }
    const now = this.watched();
    if (now.join() === before.join()) {
      return;
    }
    const metrics = new Map([...this._state.metrics].filter(([id]) => now.includes(id)));
    this.set({ ...this._state, metrics });
    this.tellWatched();
  }

  connect(): void {
    window.clearTimeout(this.timer);
    if (this._isDisposed || (this.socket && this.socket.readyState <= WebSocket.OPEN)) {
      return;
    }
    const socket = new this.settings.WebSocket(this.address());
    this.socket = socket;
    socket.onopen = () => {
      this.attempt = 0;
      // what was there before the break may have begun anew
      this.set({ ...this._state, connected: true, metrics: new Map() });
      this.tellWatched();
    };
    socket.onmessage = event => {
      this.set(reduce(this._state, JSON.parse(event.data) as LiveMessage));
    };
    socket.onclose = () => {
      if (this.socket !== socket || this._isDisposed) {
        return;
      }
      this.socket = null;
      this.set(this._state.connected ? { ...this._state, connected: false } : this._state);
      this.timer = window.setTimeout(() => this.connect(), waitBefore(this.attempt++));
    };
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    window.clearTimeout(this.timer);
    window.removeEventListener('online', this.online);
    this.socket?.close();
    Signal.clearData(this);
  }

  private address(): string {
    const address = URLExt.join(this.settings.wsUrl, 'cellferry', 'api', 'live');
    const token = this.settings.appendToken ? this.settings.token : '';
    return token ? `${address}?token=${encodeURIComponent(token)}` : address;
  }

  private watched(): string[] {
    return [...new Set([...this.watchers.values()].flat())].sort();
  }

  private tellWatched(): void {
    if (this.socket?.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify({ watch: this.watched() }));
    }
  }

  private set(state: ILiveState): void {
    if (state !== this._state) {
      this._state = state;
      this._changed.emit(state);
    }
  }

  private _state = NOTHING;
  private readonly _changed = new Signal<this, ILiveState>(this);
  private _isDisposed = false;
  private socket: WebSocket | null = null;
  private timer = 0;
  private attempt = 0;
  private readonly watchers = new Map<string, readonly string[]>();
  private readonly online: () => void;
}
