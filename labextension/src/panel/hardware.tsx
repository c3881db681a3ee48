/** Section Hardware: say what is needed, see what there is and for how much, choose. */
import { refreshIcon } from '@jupyterlab/ui-components';
import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { ICheck, IOffer, IOffers } from '../protocol';

import { dollars, roughly, size } from './format';
import { EMPTY_FORM, gpuText, IRequestForm, matches, wordsOf } from './math';
import { IProblem } from './model';
import { Advice, IconButton, Section, useModel, usePanel, useTrans } from './view';
import { Windowed } from './windowed';

const ROW_PX = 55;
const MOST_PX = 275;
const TYPING_MS = 350;

/** What is asked for, once nobody types any more. */
function useCalm<T>(value: T): T {
  const [calm, setCalm] = React.useState(value);
  React.useEffect(() => {
    const timer = window.setTimeout(() => setCalm(value), TYPING_MS);
    return () => window.clearTimeout(timer);
  }, [value]);
  return calm;
}

/** How likely it is to be had, in words. */
export function likelihoodText(offer: IOffer, trans: TranslationBundle): string {
  switch (offer.likelihood) {
    case 'likely':
      return trans.__('likely to be had');
    case 'possible':
      return trans.__('may be sold out');
    case 'unlikely':
      return trans.__('probably sold out');
    default:
      return '';
  }
}

/** The price an hour, bought as the form says; null where it is not sold so. */
export function priceOf(offer: IOffer, spot: boolean): number | null {
  return spot ? (offer.spot_microusd_per_hour ?? offer.microusd_per_hour) : offer.microusd_per_hour;
}

function textOf(offer: IOffer): string {
  return [offer.provider, offer.region, offer.zone, offer.instance, offer.gpu, offer.note].join(' ');
}

interface IFieldProps {
  label: string;
  value: string;
  placeholder: string;
  wide?: boolean;
  list?: string;
  onChange: (value: string) => void;
}

function Field(props: IFieldProps): JSX.Element {
  return (
    <label className={props.wide ? 'cf-field cf-mod-wide' : 'cf-field'}>
      <span>{props.label}</span>
      <input
        className="jp-mod-styled"
        value={props.value}
        placeholder={props.placeholder}
        list={props.list}
        spellCheck={false}
        onChange={event => props.onChange(event.target.value)}
      />
    </label>
  );
}

const GPUS = ['t4', 'l4', 'a10g', 'l40s', 'a100', 'h100', 'h200', 'b200'];

function Form(props: {
  form: IRequestForm;
  onForm: (form: IRequestForm) => void;
  check: ICheck | null;
}): JSX.Element {
  const trans = useTrans();
  const { form, onForm, check } = props;
  const field = (name: Exclude<keyof IRequestForm, 'spot'>) => ({
    value: form[name],
    onChange: (value: string) => onForm({ ...form, [name]: value })
  });
  const wrong = check !== null && !check.ok;
  return (
    <form className="cf-form" onSubmit={event => event.preventDefault()}>
      <Field
        label={trans.__('GPU')}
        placeholder={trans.__('any, or none')}
        list="cf-gpus"
        {...field('gpu')}
      />
      <datalist id="cf-gpus">
        {GPUS.map(gpu => (
          <option key={gpu} value={gpu} />
        ))}
      </datalist>
      <Field label={trans.__('How many')} placeholder="1" {...field('count')} />
      <Field label={trans.__('CPU cores')} placeholder={trans.__('any')} {...field('cpus')} />
      <Field label={trans.__('Memory, GiB')} placeholder={trans.__('any')} {...field('memory')} />
      <label className="cf-tick">
        <input
          type="checkbox"
          checked={form.spot}
          onChange={event => onForm({ ...form, spot: event.target.checked })}
        />
        {trans.__('Spot: cheaper, may be taken away')}
      </label>
      <label className="cf-field cf-mod-wide">
        <span>{trans.__('More words')}</span>
        <input
          className="jp-mod-styled"
          placeholder={trans.__('region=eu-central-1 budget=5 …')}
          spellCheck={false}
          aria-invalid={wrong}
          aria-describedby={wrong ? 'cf-form-wrong' : undefined}
          {...{ value: form.more, onChange: event => onForm({ ...form, more: event.target.value }) }}
        />
      </label>
      {wrong ? (
        <div id="cf-form-wrong" className="cf-wrong cf-mod-wide" role="status">
          {check.message}
          {check.advice ? <Advice text={check.advice} /> : null}
        </div>
      ) : null}
    </form>
  );
}

const Row = React.memo(function Row(props: { offer: IOffer; spot: boolean }): JSX.Element {
  const trans = useTrans();
  const { offer } = props;
  const price = priceOf(offer, props.spot);
  const machine = [
    offer.cpus ? `${offer.cpus} CPU` : '',
    offer.memory_bytes ? size(offer.memory_bytes) : '',
    offer.simulated ? trans.__('%1, simulated', offer.provider) : offer.provider,
    offer.zone || offer.region
  ];
  const hope = [
    likelihoodText(offer, trans),
    offer.price_age_s ? trans.__('price %1 old', roughly(offer.price_age_s)) : ''
  ];
  const tip = [offer.instance, offer.note, offer.source].filter(Boolean).join('\n');
  return (
    <div className="cf-offer" title={tip}>
      <div className="cf-line">
        <span className="cf-name cf-grow cf-clip">{gpuText(offer) || offer.instance}</span>
        <span className="cf-number">
          {price === null ? '' : price ? trans.__('%1/h', dollars(price)) : trans.__('free')}
        </span>
      </div>
      <div className="cf-quiet cf-clip">{machine.filter(Boolean).join(' · ')}</div>
      <div className="cf-quiet cf-clip">{hope.filter(Boolean).join(' · ')}</div>
    </div>
  );
});

type Found = (IOffers & { problem: IProblem | null }) | null;

function useOffers(words: string, asked: number, wanted: boolean): Found {
  const { model } = usePanel();
  const [found, setFound] = React.useState<Found>(null);
  React.useEffect(() => {
    if (!wanted) {
      return;
    }
    let current = true;
    model.offers(words).then(
      told => current && setFound({ ...told, problem: null }),
      error => current && setFound({ offers: [], problems: [], problem: model.problemOf(error) })
    );
    return () => {
      current = false;
    };
  }, [model, words, asked, wanted]);
  return found;
}

function useCheck(words: string): ICheck | null {
  const { model } = usePanel();
  const [check, setCheck] = React.useState<ICheck | null>(null);
  React.useEffect(() => {
    let current = true;
    if (!words) {
      setCheck({ ok: true, message: '', advice: '', words: '' });
      return;
    }
    setCheck(null);
    model.check(words).then(
      told => current && setCheck(told),
      () => current && setCheck(null)
    );
    return () => {
      current = false;
    };
  }, [model, words]);
  return check;
}

/** The words of an offer with those of the form that say more than the machine (budget, idle, name …). */
export function wordsFor(offer: IOffer, form: IRequestForm): string {
  const known = new Set(offer.words.split(/\s+/).map(word => word.split('=')[0]));
  const more = form.more.split(/\s+/).filter(word => word && !known.has(word.split('=')[0]));
  const spot = form.spot && !known.has('spot') ? ['spot'] : [];
  return [offer.words, ...spot, ...more].filter(Boolean).join(' ');
}

function Offers(props: { form: IRequestForm; found: Found; checked: boolean }): JSX.Element {
  const { actions } = usePanel();
  const trans = useTrans();
  const notebook = useModel(state => state.notebook);
  const { form, found } = props;
  const [search, setSearch] = React.useState('');
  const [active, setActive] = React.useState(0);
  const offers = React.useMemo(() => {
    const price = (offer: IOffer) => priceOf(offer, form.spot) ?? Infinity;
    const fit = (found?.offers ?? []).filter(offer => matches(textOf(offer), search));
    return fit.sort((a, b) => price(a) - price(b));
  }, [found, search, form.spot]);
  React.useEffect(() => setActive(0), [offers]);
  const row = React.useCallback((offer: IOffer) => <Row offer={offer} spot={form.spot} />, [form.spot]);
  const chosen: IOffer | undefined = offers[active];
  const use = () => chosen && notebook && actions.useWords(wordsFor(chosen, form));
  const start = () => chosen && void actions.start(wordsFor(chosen, form));
  if (!found) {
    return <p className="cf-quiet">{trans.__('Asking for offers…')}</p>;
  }
  return (
    <>
      <input
        className="jp-mod-styled cf-search"
        type="search"
        aria-label={trans.__('Search the offers')}
        placeholder={trans.__('Search %1 offers', found.offers.length)}
        value={search}
        onChange={event => setSearch(event.target.value)}
      />
      {offers.length ? (
        <Windowed
          items={offers}
          keyOf={offer => [offer.provider, offer.region, offer.zone, offer.instance, offer.words].join(' ')}
          rowHeight={ROW_PX}
          mostHeight={MOST_PX}
          label={trans.__('Offers, the cheapest first')}
          role="listbox"
          active={Math.min(active, offers.length - 1)}
          onActive={setActive}
          onKey={event => {
            if (event.key === 'Enter') {
              event.preventDefault();
              (event.ctrlKey || event.metaKey ? start : use)();
            }
          }}
          row={row}
        />
      ) : (
        <p className="cf-quiet">{found.problem?.message ?? trans.__('Nothing fits that.')}</p>
      )}
      {found.problems.map(problem => (
        <div key={problem} className="cf-quiet cf-note">
          {problem}
        </div>
      ))}
      {chosen ? (
        <div className="cf-buttons">
          <button
            className="jp-mod-styled jp-mod-accept"
            disabled={!notebook || !props.checked}
            title={notebook ? trans.__('Enter') : trans.__('Open a notebook first')}
            onClick={use}
          >
            {trans.__('Use in this notebook')}
          </button>
          <button
            className="jp-mod-styled"
            disabled={!props.checked}
            title={trans.__('Ctrl Enter')}
            onClick={start}
          >
            {trans.__('Start now')}
          </button>
        </div>
      ) : null}
    </>
  );
}

function Default(): JSX.Element | null {
  const { actions } = usePanel();
  const trans = useTrans();
  const words = useModel(state => state.words);
  return words ? (
    <div className="cf-default">
      <span className="cf-grow">
        {trans.__('New remote cells of this notebook:')} <code>{words}</code>
      </span>
      <button className="cf-link" onClick={() => actions.useWords('')}>
        {trans.__('Clear')}
      </button>
    </div>
  ) : null;
}

function Body(props: { asked: number }): JSX.Element {
  const { form: given } = usePanel();
  const [form, setForm] = React.useState<IRequestForm>({ ...EMPTY_FORM, more: given.words });
  React.useEffect(() => setForm({ ...EMPTY_FORM, more: given.words }), [given.asked]);
  const words = useCalm(wordsOf(form));
  const check = useCheck(words);
  const found = useOffers(words, props.asked, check?.ok ?? false);
  return (
    <>
      <Default />
      <Form form={form} onForm={setForm} check={check} />
      <Offers form={form} found={found} checked={check?.ok ?? false} />
    </>
  );
}

export function Hardware(): JSX.Element {
  const trans = useTrans();
  const [asked, setAsked] = React.useState(0);
  const again = (
    <IconButton
      icon={refreshIcon}
      label={trans.__('Ask for offers again')}
      onClick={() => setAsked(asked + 1)}
    />
  );
  return (
    <Section name="hardware" title={trans.__('Hardware')} action={again}>
      <Body asked={asked} />
    </Section>
  );
}
