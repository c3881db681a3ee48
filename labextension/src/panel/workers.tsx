/** Section Workers: each with what it does, costs and how long it stays. */
import { TranslationBundle } from '@jupyterlab/translation';
import { caretDownIcon, caretRightIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { ICell, IWorker, PhaseName } from '../protocol';

import { baseName, dollars, duration, roughly, size } from './format';
import { endOf, gpuText, stepsOf } from './math';
import { Ticking } from './ticker';
import { Section, useLive, usePanel, useTrans } from './view';

const Plots = React.lazy(() => import('./plots'));
const CELLS_SHOWN = 6;

function phaseText(phase: PhaseName, trans: TranslationBundle): string {
  const texts: Record<PhaseName, string> = {
    requested: trans.__('Requested'),
    booting: trans.__('Booting'),
    environment: trans.__('Packages'),
    data: trans.__('Data'),
    ready: trans.__('Ready')
  };
  return texts[phase] ?? phase;
}

function Phases(props: { worker: IWorker }): JSX.Element {
  const trans = useTrans();
  const steps = stepsOf(props.worker.phases);
  return (
    <ol className="cf-phases">
      {steps.map(step => (
        <li
          key={step.phase}
          className={`cf-phase cf-mod-${step.state}`}
          aria-current={step.state === 'now' ? 'step' : undefined}
        >
          <span className="cf-grow">{phaseText(step.phase, trans)}</span>
          <Took since={step.state === 'now' ? step.since_unix_s : null} took={step.took_s} />
        </li>
      ))}
    </ol>
  );
}

function Took(props: { since: number | null; took: number | null }): JSX.Element {
  const { since, took } = props;
  const text = React.useCallback(
    (nowS: number) => (took !== null ? duration(took) : since !== null ? duration(nowS - since) : ''),
    [since, took]
  );
  return <Ticking text={text} className="cf-number cf-quiet" />;
}

function TimeLeft(props: { worker: IWorker }): JSX.Element {
  const trans = useTrans();
  const end = endOf(props.worker);
  const at = end?.at ?? null;
  const why = end?.why;
  const text = React.useCallback(
    (nowS: number) => {
      if (at === null) {
        return '';
      }
      const left = at - nowS > 3600 * 10 ? roughly(at - nowS) : duration(at - nowS);
      return why === 'idle' ? trans.__('%1 left if unused', left) : trans.__('%1 left', left);
    },
    [at, why, trans]
  );
  return <Ticking text={text} className="cf-number" />;
}

/** What it does now, in a word. */
function stateText(worker: IWorker, trans: TranslationBundle): string {
  if (worker.state === 'starting') {
    const last = worker.phases[worker.phases.length - 1]?.phase ?? 'requested';
    return phaseText(last, trans);
  }
  if (worker.state !== 'ready') {
    return worker.state === 'ending' ? trans.__('Ending') : trans.__('Failed');
  }
  return worker.busy ? trans.__('Busy') : trans.__('Idle');
}

function dotOf(worker: IWorker): string {
  return worker.state === 'ready'
    ? worker.busy
      ? 'busy'
      : 'done'
    : worker.state === 'ending'
      ? 'off'
      : worker.state;
}

function priceText(worker: IWorker, trans: TranslationBundle): string {
  if (worker.microusd_per_hour) {
    return trans.__('%1/h', dollars(worker.microusd_per_hour));
  }
  return worker.state === 'ready' ? trans.__('free') : '';
}

function Uses(props: { worker: IWorker }): JSX.Element | null {
  const { actions } = usePanel();
  const trans = useTrans();
  const { cells, notebooks } = props.worker;
  const places: ICell[] = cells.length
    ? cells.slice(0, CELLS_SHOWN)
    : notebooks.map(notebook => ({ notebook, cell_id: '', number: null }));
  if (!places.length) {
    return null;
  }
  return (
    <>
      <dt>{trans.__('Used by')}</dt>
      <dd className="cf-uses">
        {places.map(place => (
          <button
            key={`${place.notebook} ${place.cell_id} ${place.number}`}
            className="cf-link"
            title={place.notebook}
            onClick={() => actions.jump(place)}
          >
            {baseName(place.notebook)}
            {place.number ? ` [${place.number}]` : ''}
          </button>
        ))}
        {cells.length > CELLS_SHOWN ? <span className="cf-quiet">+{cells.length - CELLS_SHOWN}</span> : null}
      </dd>
    </>
  );
}

/** One of several facts in a line, which breaks between them only. */
function Part(props: { text: string; first: boolean }): JSX.Element {
  return (
    <>
      {props.first ? '' : ' · '}
      <span className="cf-whole">{props.text}</span>
    </>
  );
}

function Facts(props: { worker: IWorker }): JSX.Element {
  const trans = useTrans();
  const { worker } = props;
  const machine = [
    worker.provider === 'local' ? trans.__('this machine') : worker.provider,
    worker.instance,
    worker.region,
    worker.cpus ? `${worker.cpus} CPU` : '',
    worker.memory_bytes ? size(worker.memory_bytes) : '',
    worker.spot ? trans.__('spot') : ''
  ].filter(Boolean);
  const rows: [string, React.ReactNode][] = [];
  if (machine.length) {
    rows.push([
      trans.__('Machine'),
      machine.map((part, n) => <Part key={part} text={part} first={n === 0} />)
    ]);
  }
  if (worker.words) {
    rows.push([trans.__('Request'), worker.words]);
  }
  if (worker.microusd_per_hour || worker.spent_microusd) {
    const aside = worker.reserved_microusd;
    const spent = dollars(worker.spent_microusd);
    rows.push([trans.__('So far'), aside ? trans.__('%1 of %2 set aside', spent, dollars(aside)) : spent]);
  }
  return (
    <dl className="cf-facts">
      {rows.map(([name, value]) => (
        <React.Fragment key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </React.Fragment>
      ))}
      <Uses worker={worker} />
    </dl>
  );
}

/** Whether there is no machine yet: what is asked for can still be given up. */
function isStarting(worker: IWorker): boolean {
  return worker.id.startsWith('starting:');
}

function Buttons(props: { worker: IWorker }): JSX.Element {
  const { actions } = usePanel();
  const trans = useTrans();
  const { worker } = props;
  const ready = worker.state === 'ready';
  const failed = worker.state === 'failed';
  const button = (label: string, deed: (worker: IWorker) => void, shown: boolean) =>
    shown ? (
      <button
        className="jp-mod-styled"
        aria-label={`${label}: ${worker.name}`}
        onClick={() => deed.call(actions, worker)}
      >
        {label}
      </button>
    ) : null;
  return (
    <div className="cf-buttons">
      {button(trans.__('Stop the cell'), actions.interrupt, ready && worker.busy)}
      {button(trans.__('Extend…'), actions.extend, ready && worker.microusd_per_hour > 0)}
      {button(trans.__('Terminal'), actions.openTerminal, ready)}
      {button(trans.__('Logs'), actions.openLogs, ready)}
      {button(trans.__('End…'), actions.end, ready)}
      {button(trans.__('Cancel'), actions.dismiss, worker.state === 'starting' && isStarting(worker))}
      {button(trans.__('Dismiss'), actions.dismiss, failed)}
    </div>
  );
}

/** Why it could not be started: the first line, and the rest (a table of what was tried) as it was written. */
function Wrong(props: { text: string }): JSX.Element {
  const trans = useTrans();
  const [first, ...rest] = props.text.split('\n');
  return (
    <div className="cf-detail">
      <div className="cf-wrong">{first}</div>
      {rest.length ? (
        <pre className="cf-tried" tabIndex={0} aria-label={trans.__('What was tried')}>
          {rest.join('\n')}
        </pre>
      ) : null}
    </div>
  );
}

function History(props: { worker: string }): JSX.Element {
  const trans = useTrans();
  const history = useLive(state => state.metrics.get(props.worker));
  const waiting = <div className="cf-quiet cf-plots-wait">{trans.__('Waiting for its first numbers…')}</div>;
  return history?.rows.length ? (
    <React.Suspense fallback={waiting}>
      <Plots history={history} />
    </React.Suspense>
  ) : (
    waiting
  );
}

const Card = React.memo(function Card(props: {
  worker: IWorker;
  open: boolean;
  onFold: (id: string, open: boolean) => void;
}): JSX.Element {
  const { plots } = usePanel();
  const trans = useTrans();
  const { worker, open } = props;
  const Caret = open ? caretDownIcon : caretRightIcon;
  return (
    <li className={`cf-worker cf-mod-${worker.state}`}>
      <button className="cf-worker-head" aria-expanded={open} onClick={() => props.onFold(worker.id, !open)}>
        <Caret.react tag="span" className="cf-caret" />
        <span className={`cf-dot cf-mod-${dotOf(worker)}`} aria-hidden="true" />
        <span className="cf-grow cf-two">
          <span className="cf-line">
            <span className="cf-name cf-clip">{worker.name}</span>
            {worker.simulated ? <span className="cf-tag">{trans.__('simulated')}</span> : null}
            <span className="cf-grow" />
            <span className="cf-number">{priceText(worker, trans)}</span>
          </span>
          <span className="cf-line cf-quiet">
            <span className="cf-grow cf-clip">
              {[stateText(worker, trans), gpuText(worker) || worker.instance].filter(Boolean).join(' · ')}
            </span>
            {worker.state === 'ready' ? <TimeLeft worker={worker} /> : null}
          </span>
        </span>
      </button>
      {worker.detail && worker.state === 'starting' ? (
        <div className="cf-detail cf-quiet">{worker.detail}</div>
      ) : null}
      {worker.error ? <Wrong text={worker.error} /> : null}
      {open ? (
        <div className="cf-worker-body">
          {worker.state === 'starting' ? <Phases worker={worker} /> : null}
          <Facts worker={worker} />
          {plots && worker.state === 'ready' ? <History worker={worker.id} /> : null}
          <Buttons worker={worker} />
        </div>
      ) : null}
    </li>
  );
});

export function Workers(): JSX.Element {
  const { model } = usePanel();
  const trans = useTrans();
  const workers = useLive(state => state.workers);
  const [folds, setFolds] = React.useState<ReadonlyMap<string, boolean>>(new Map());
  const onFold = React.useCallback((id: string, open: boolean) => {
    setFolds(known => new Map(known).set(id, open));
  }, []);
  const list = workers ?? [];
  // a few are told in full; many are a list, and the user opens what they want to see
  const isOpen = (worker: IWorker) => folds.get(worker.id) ?? list.length <= 2;
  const open = list.filter(isOpen).filter(worker => worker.state === 'ready');
  const watched = open.map(worker => worker.id).join('\n');
  React.useEffect(() => {
    model.live.watch('panel', watched ? watched.split('\n') : []);
  }, [model, watched]);
  React.useEffect(() => () => model.live.watch('panel', []), [model]);
  return (
    <Section name="workers" title={trans.__('Workers')} count={list.length}>
      {list.length ? (
        <ul className="cf-plain">
          {list.map(worker => (
            <Card key={worker.id} worker={worker} open={isOpen(worker)} onFold={onFold} />
          ))}
        </ul>
      ) : (
        <p className="cf-quiet">
          {workers === null ? trans.__('Waiting for the server…') : trans.__('No worker at the moment.')}
        </p>
      )}
    </Section>
  );
}
