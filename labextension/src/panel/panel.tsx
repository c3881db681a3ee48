/** The panel as one widget at the side. */
import { ReactWidget } from '@jupyterlab/apputils';
import { closeIcon } from '@jupyterlab/ui-components';
import { Message } from '@lumino/messaging';
import { ISignal, Signal } from '@lumino/signaling';
import * as React from 'react';

import { IActions } from './actions';
import { Budget } from './budget';
import { Doctor } from './doctor';
import { Hardware } from './hardware';
import { ferryIcon } from './icon';
import { PanelModel } from './model';
import { Runs } from './runs';
import { Ticker, TickerContext } from './ticker';
import {
  Advice,
  Command,
  IconButton,
  IPanelContext,
  PanelContext,
  useLive,
  useModel,
  usePanel,
  useTrans
} from './view';
import { Workers } from './workers';

const LOST_MS = 2000;

/** What can be tried where nothing runs yet. */
function Welcome(): JSX.Element | null {
  const { actions, setForm } = usePanel();
  const trans = useTrans();
  const empty = useLive(state => state.workers?.length === 0 && state.runs?.length === 0);
  const [busy, setBusy] = React.useState(false);
  if (!empty) {
    return null;
  }
  const startHere = () => {
    setBusy(true);
    void actions.start('provider=local').finally(() => setBusy(false));
  };
  return (
    <div className="cf-welcome">
      <p>
        {trans.__('Put')} <code>%%remote gpu=a100</code>{' '}
        {trans.__(
          'on a cell, and it runs on another machine, with everything it needs. Nothing runs there yet: try it.'
        )}
      </p>
      <div className="cf-buttons">
        <button className="jp-mod-styled jp-mod-accept" disabled={busy} onClick={startHere}>
          {trans.__('A worker on this machine')}
        </button>
        <button className="jp-mod-styled" onClick={() => setForm('gpu=a100 provider=demo')}>
          {trans.__('The simulated cloud')}
        </button>
      </div>
      <p className="cf-quiet">
        {trans.__('Both are free: the simulated cloud counts money that nobody pays.')}
      </p>
    </div>
  );
}

/** What is wrong, above everything else. */
function Problems(): JSX.Element {
  const { model } = usePanel();
  const trans = useTrans();
  const problem = useModel(state => state.problem);
  useModel(state => state.server);
  const version = model.versionProblem();
  return (
    <>
      {version ? (
        <div className="cf-problem" role="alert">
          <div className="cf-grow">
            <div>{version.message}</div>
            <p className="cf-advice">{version.advice}</p>
            <Command text={version.command} />
          </div>
        </div>
      ) : null}
      {problem ? (
        <div className="cf-problem" role="alert">
          <div className="cf-grow">
            <div>{problem.message}</div>
            {problem.advice ? <Advice text={problem.advice} /> : null}
          </div>
          <IconButton
            icon={closeIcon}
            label={trans.__('Dismiss')}
            onClick={() => model.set({ problem: null })}
          />
        </div>
      ) : null}
    </>
  );
}

/** Says that the server is away, once it has been for a while. */
function Connection(): JSX.Element | null {
  const trans = useTrans();
  const connected = useLive(state => state.connected);
  const server = useModel(state => state.server);
  const [lost, setLost] = React.useState(false);
  React.useEffect(() => {
    setLost(false);
    const timer = connected ? 0 : window.setTimeout(() => setLost(true), LOST_MS);
    return () => window.clearTimeout(timer);
  }, [connected]);
  return lost && !connected && server !== '' ? (
    <div className="cf-lost" role="status">
      {trans.__('No connection to the server. What you see may be old; trying again…')}
    </div>
  ) : null;
}

function Said(): JSX.Element {
  const said = useModel(state => state.said);
  return (
    <div className="cf-hidden" aria-live="polite">
      {said}
    </div>
  );
}

/** The widget: what JupyterLab gives goes in through `update`-like setters, what the user folds comes out. */
export class Panel extends ReactWidget {
  constructor(
    private readonly model: PanelModel,
    private readonly actions: IActions
  ) {
    super();
    this.id = 'cellferry-panel';
    this.addClass('cf-panel');
    this.title.icon = ferryIcon;
    this.title.caption = model.trans.__('cellferry: where cells run');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', model.trans.__('cellferry'));
    this.ticker.running = false;
  }

  /** Emitted when the user folds a section or opens it. */
  get foldedChanged(): ISignal<this, readonly string[]> {
    return this._foldedChanged;
  }

  setFolded(folded: readonly string[]): void {
    this.folded = new Set(folded);
    this.update();
  }

  setPlots(plots: boolean): void {
    this.plots = plots;
    this.update();
  }

  themeChanged(): void {
    this.theme += 1;
    this.update();
  }

  protected override render(): JSX.Element {
    const context: IPanelContext = {
      model: this.model,
      actions: this.actions,
      folded: this.folded,
      fold: this.fold,
      theme: this.theme,
      plots: this.plots,
      form: this.form,
      setForm: this.setForm
    };
    return (
      <PanelContext.Provider value={context}>
        <TickerContext.Provider value={this.ticker}>
          <Said />
          <Problems />
          <Connection />
          <Welcome />
          <Hardware />
          <Workers />
          <Budget />
          <Runs />
          <Doctor />
        </TickerContext.Provider>
      </PanelContext.Provider>
    );
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this.ticker.running = true;
  }

  protected override onBeforeHide(message: Message): void {
    this.ticker.running = false;
    super.onBeforeHide(message);
  }

  private readonly fold = (section: string, folded: boolean) => {
    const now = new Set(this.folded);
    if (folded) {
      now.add(section);
    } else {
      now.delete(section);
    }
    this.folded = now;
    this._foldedChanged.emit([...now]);
    this.update();
  };

  private readonly setForm = (words: string) => {
    this.form = { words, asked: this.form.asked + 1 };
    this.fold('hardware', false);
  };

  private folded: ReadonlySet<string> = new Set(['doctor']);
  private theme = 0;
  private plots = true;
  private form = { words: '', asked: 0 };
  private readonly ticker = new Ticker();
  private readonly _foldedChanged = new Signal<this, readonly string[]>(this);
}
