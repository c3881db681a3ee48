/** Section Budget: what was spent, what is set aside for what runs, what is left. */
import { editIcon } from '@jupyterlab/ui-components';
import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IBudgetRow, Period } from '../protocol';

import { dollars, readDollars } from './format';
import { budgetRows, gaugeOf } from './math';
import { IconButton, Section, useLive, useModel, usePanel, useTrans } from './view';

const EDITABLE: readonly Period[] = ['notebook', 'day', 'month'];

function titleOf(row: IBudgetRow, trans: TranslationBundle): string {
  switch (row.period) {
    case 'notebook':
      return trans.__('This notebook');
    case 'day':
      return trans.__('Today');
    case 'month':
      return trans.__('This month');
    default:
      return trans.__('Yours');
  }
}

function Limit(props: { row: IBudgetRow; title: string; done: () => void }): JSX.Element {
  const { model } = usePanel();
  const trans = useTrans();
  const { row } = props;
  const limit = row.limit_microusd;
  const [text, setText] = React.useState(limit === null ? '' : String(limit / 1_000_000));
  const amount = text.trim() ? readDollars(text) : null;
  const wrong = text.trim() !== '' && amount === null;
  const save = async () => {
    if (!wrong) {
      const usd = amount === null ? null : amount / 1_000_000;
      await model.attempt(() => model.setLimit(row.period, usd, row.notebook || model.state.notebook));
      props.done();
    }
  };
  return (
    <form
      className="cf-limit"
      onSubmit={event => {
        event.preventDefault();
        void save();
      }}
      onKeyDown={event => event.key === 'Escape' && props.done()}
    >
      <span aria-hidden="true">$</span>
      <input
        autoFocus
        className="jp-mod-styled"
        inputMode="decimal"
        aria-label={trans.__('Limit in dollars (%1); empty for none', props.title)}
        aria-invalid={wrong}
        placeholder={trans.__('no limit')}
        value={text}
        onFocus={event => event.target.select()}
        onChange={event => setText(event.target.value)}
      />
      <button className="jp-mod-styled jp-mod-accept" disabled={wrong}>
        {trans.__('Set')}
      </button>
      <button type="button" className="jp-mod-styled" onClick={props.done}>
        {trans.__('Cancel')}
      </button>
    </form>
  );
}

const Gauge = React.memo(function Gauge(props: { row: IBudgetRow }): JSX.Element {
  const trans = useTrans();
  const { row } = props;
  const [editing, setEditing] = React.useState(false);
  const edit = React.useRef<HTMLDivElement>(null);
  const gauge = gaugeOf(row);
  const title = row.simulated ? trans.__('%1, simulated', titleOf(row, trans)) : titleOf(row, trans);
  const limit = row.limit_microusd;
  const left = row.left_microusd ?? 0;
  const told = [
    trans.__('%1 spent', dollars(row.spent_microusd)),
    row.reserved_microusd ? trans.__('%1 set aside', dollars(row.reserved_microusd)) : '',
    limit !== null ? trans.__('%1 left', dollars(Math.max(0, left))) : ''
  ].filter(Boolean);
  const edited = React.useRef(false);
  React.useLayoutEffect(() => {
    if (edited.current && !editing) {
      edit.current?.querySelector('button')?.focus(); // the button is back where the form was, so is the focus
    }
    edited.current = editing;
  }, [editing]);
  const done = () => setEditing(false);
  return (
    <div className={`cf-gauge cf-mod-${gauge.level}`}>
      <div className="cf-line" ref={edit}>
        <span className="cf-grow">{titleOf(row, trans)}</span>
        {editing ? null : (
          <>
            <span className="cf-number">{limit === null ? trans.__('no limit') : dollars(limit)}</span>
            {EDITABLE.includes(row.period) && !row.simulated ? (
              <IconButton
                icon={editIcon}
                label={trans.__('Change the limit: %1', title)}
                onClick={() => setEditing(true)}
              />
            ) : null}
          </>
        )}
      </div>
      {editing ? <Limit row={row} title={title} done={done} /> : null}
      {limit !== null ? (
        <div
          className="cf-bar"
          role="meter"
          aria-label={title}
          aria-valuemin={0}
          aria-valuemax={100}
          aria-valuenow={Math.round(100 * (gauge.spent + gauge.reserved))}
          aria-valuetext={told.join(', ')}
        >
          <div className="cf-bar-spent" style={{ width: `${100 * gauge.spent}%` }} />
          <div className="cf-bar-reserved" style={{ width: `${100 * gauge.reserved}%` }} />
        </div>
      ) : null}
      <div className="cf-quiet">{told.join(' · ')}</div>
    </div>
  );
});

export function Budget(): JSX.Element {
  const trans = useTrans();
  const budget = useLive(state => state.budget);
  const notebook = useModel(state => state.notebook);
  const rows = budgetRows(budget?.rows ?? [], notebook);
  if (budget && notebook && !rows.some(row => row.period === 'notebook')) {
    const none = { limit_microusd: null, spent_microusd: 0, reserved_microusd: 0, left_microusd: null };
    rows.unshift({ period: 'notebook', notebook, simulated: false, ...none });
  }
  return (
    <Section name="budget" title={trans.__('Budget')}>
      {rows.map((row, n) => (
        <React.Fragment key={`${row.period} ${row.notebook} ${row.simulated}`}>
          {row.simulated && !rows[n - 1]?.simulated ? (
            <div className="cf-subtitle">{trans.__('Simulated money')}</div>
          ) : null}
          <Gauge row={row} />
        </React.Fragment>
      ))}
      {budget === null ? <p className="cf-quiet">{trans.__('Waiting for the server…')}</p> : null}
      {budget && !rows.length ? (
        <p className="cf-quiet">{trans.__('Open a notebook to give it a limit.')}</p>
      ) : null}
      {budget?.ends.length ? (
        <div className="cf-ends">
          <div className="cf-quiet">{trans.__('If they run to the end of their time:')}</div>
          <dl>
            {budget.ends.map(each => (
              <React.Fragment key={each.worker}>
                <dt>{each.worker}</dt>
                <dd className="cf-number">{dollars(each.will_have_cost_microusd)}</dd>
              </React.Fragment>
            ))}
          </dl>
        </div>
      ) : null}
    </Section>
  );
}
