/** Section Runs: what runs, waits or has ended lately. */
import { linkIcon } from '@jupyterlab/ui-components';
import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IRun } from '../protocol';

import { baseName, dollars, duration, roughly } from './format';
import { inOrder, isOpen, isWaiting } from './math';
import { Ticking } from './ticker';
import { IconButton, Section, useLive, usePanel, useTrans } from './view';
import { Windowed } from './windowed';

const ROW_PX = 40;
const MOST_PX = 320;

/** What a run is doing, in one word. */
export function statusOf(run: IRun, trans: TranslationBundle): string {
  if (isWaiting(run)) {
    return run.ended_unix_s === null ? trans.__('detached') : trans.__('results wait');
  }
  switch (run.ended_unix_s === null ? run.phase : run.status) {
    case 'packing':
      return trans.__('packing');
    case 'worker':
      return trans.__('waiting for the worker');
    case 'sending':
      return trans.__('sending');
    case 'queued':
      return trans.__('queued');
    case 'home':
      return trans.__('bringing results home');
    case 'running':
      return trans.__('running');
    case 'ok':
      return trans.__('done');
    case 'stopped':
      return trans.__('stopped');
    case 'lost':
      return trans.__('lost');
    default:
      return trans.__('error');
  }
}

function dotOf(run: IRun): string {
  if (isWaiting(run)) {
    return 'waiting';
  }
  if (run.ended_unix_s !== null) {
    return run.status === 'ok' ? 'done' : run.status === 'stopped' ? 'off' : 'failed';
  }
  return run.phase === 'running' || run.phase === 'home' ? 'busy' : 'starting';
}

const Row = React.memo(function Row(props: { run: IRun; active: boolean }): JSX.Element {
  const { actions } = usePanel();
  const trans = useTrans();
  const { run } = props;
  const cell = run.number ? `[${run.number}]` : '';
  const title = `${baseName(run.notebook) || trans.__('elsewhere')} ${cell}`;
  const time = React.useCallback(
    (nowS: number) =>
      run.ended_unix_s === null
        ? duration(nowS - run.began_unix_s)
        : trans.__('%1 ago', roughly(nowS - run.ended_unix_s)),
    [run, trans]
  );
  const took = run.ended_unix_s === null ? '' : duration(run.ended_unix_s - run.began_unix_s);
  const cost = run.microusd ? dollars(run.microusd) : '';
  const tab = props.active ? 0 : -1;
  return (
    <>
      <button
        className="cf-run"
        tabIndex={tab}
        title={run.detail || trans.__('Go to this cell')}
        onClick={() => actions.jump(run)}
      >
        <span className={`cf-dot cf-mod-${dotOf(run)}`} aria-hidden="true" />
        <span className="cf-grow cf-two">
          <span className="cf-line">
            <span className="cf-grow cf-clip">{title}</span>
            <Ticking text={time} className="cf-number cf-quiet" />
          </span>
          <span className="cf-quiet cf-clip">
            {[run.worker, statusOf(run, trans), took, cost].filter(Boolean).join(' · ')}
          </span>
        </span>
      </button>
      {isWaiting(run) ? (
        <IconButton
          icon={linkIcon}
          label={trans.__('Attach: bring what it shows and its results to this notebook')}
          tabIndex={tab}
          onClick={() => actions.attach(run)}
        />
      ) : null}
    </>
  );
});

export function Runs(): JSX.Element {
  const trans = useTrans();
  const runs = useLive(state => state.runs);
  const [active, setActive] = React.useState(0);
  const sorted = React.useMemo(() => inOrder(runs ?? []), [runs]);
  const row = React.useCallback(
    (run: IRun, _: number, isActive: boolean) => <Row run={run} active={isActive} />,
    []
  );
  return (
    <Section name="runs" title={trans.__('Runs')} count={sorted.filter(isOpen).length}>
      {sorted.length ? (
        <Windowed
          items={sorted}
          keyOf={run => run.run}
          rowHeight={ROW_PX}
          mostHeight={MOST_PX}
          label={trans.__('Runs, those that go on first')}
          role="list"
          active={Math.min(active, sorted.length - 1)}
          onActive={setActive}
          row={row}
        />
      ) : (
        <p className="cf-quiet">
          {runs === null ? trans.__('Waiting for the server…') : trans.__('No cell has run elsewhere yet.')}
        </p>
      )}
    </Section>
  );
}
