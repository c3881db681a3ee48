/** What a cell shows about where it runs, as plain text. Pure: the same words for the chip, the line and tests. */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { IRun, IWorker } from '../protocol';

import { Provenance, costNow, elapsed, hasEnded, isActive, isUnclaimed } from './runs';
import { dollars, duration, size } from '../panel/format';
import { Target, offerWords, options, shortName } from './words';

/** Dollars per hour that a target costs, and whether they are real. */
export interface Price {
  readonly microusdPerHour: number;
  readonly simulated: boolean;
}

export type Tone = 'none' | 'active' | 'ok' | 'error' | 'waiting';

/** One cell's line: a badge, what goes on or went on, and perhaps something to do. */
export interface View {
  /** "local", "a100 · $1.29/h" */
  readonly chip: string;
  /** The same, and whether it is simulated: there is room for it below the text. */
  readonly badge: string;
  readonly badgeTitle: string;
  readonly remote: boolean;
  readonly status: string;
  readonly statusTitle: string;
  readonly tone: Tone;
  /** The run to attach to, and what the button says; `null` where there is none. */
  readonly attach: { run: string; label: string } | null;
}

export interface Known {
  readonly target: Target;
  readonly price: Price | null;
  readonly run: IRun | undefined;
  readonly provenance: Provenance | null;
  /** The user has asked for the outputs of a run that nobody listened to; they are coming. */
  readonly attaching: boolean;
  readonly nowS: number;
}

/** The worker that serves these words for this notebook, if one is running. */
export function workerFor(words: string, notebook: string, workers: readonly IWorker[]): IWorker | undefined {
  const name = options(words).get('name');
  const wanted = offerWords(words);
  const fits = workers.filter(
    worker =>
      worker.state !== 'failed' &&
      (name
        ? worker.name === name
        : offerWords(worker.words) === wanted && (wanted !== '' || worker.provider === 'local'))
  );
  return fits.find(worker => worker.notebook === notebook) ?? fits[0];
}

export function chipText(target: Target, price: Price | null, trans: TranslationBundle): string {
  if (target.words === null) {
    return trans.__('local');
  }
  const name = shortName(target.words) || trans.__('worker');
  if (!price || !price.microusdPerHour) {
    return name;
  }
  return trans.__('%1 · %2/h', name, dollars(price.microusdPerHour));
}

function badgeTitle(target: Target, trans: TranslationBundle): string {
  if (target.words === null) {
    return trans.__('This cell runs in the notebook’s own kernel.');
  }
  return target.words
    ? trans.__('This cell runs on a worker: %1', target.words)
    : trans.__('This cell runs on a worker process of this machine.');
}

const PHASES: { [phase: string]: (trans: TranslationBundle) => string } = {
  packing: trans => trans.__('packing'),
  worker: trans => trans.__('waiting for its worker'),
  sending: trans => trans.__('sending'),
  queued: trans => trans.__('queued'),
  running: trans => trans.__('running'),
  home: trans => trans.__('bringing results home'),
  done: trans => trans.__('done')
};

export function phaseText(run: IRun, trans: TranslationBundle): string {
  return (PHASES[run.phase] ?? (t => t.__('running')))(trans);
}

function money(microusd: number, simulated: boolean, trans: TranslationBundle): string[] {
  if (!microusd) {
    return [];
  }
  return [simulated ? trans.__('%1 (simulated)', dollars(microusd)) : dollars(microusd)];
}

function activeStatus(run: IRun, nowS: number, trans: TranslationBundle): string {
  const parts = [phaseText(run, trans), duration(elapsed(run, nowS))];
  return [...parts, ...money(costNow(run, nowS), run.simulated, trans)].join(' · ');
}

/** "12 s · $0.0043 · a100", "failed after 12 s · …" */
export function pastStatus(kept: Provenance, trans: TranslationBundle): string {
  const seconds = Math.max(0, Date.parse(kept.ended) - Date.parse(kept.began)) / 1000;
  const took = seconds < 10 ? trans.__('%1 s', seconds.toFixed(1)) : duration(seconds);
  const texts: { [status: string]: string } = {
    error: trans.__('failed after %1', took),
    stopped: trans.__('stopped after %1', took),
    lost: trans.__('worker lost after %1', took)
  };
  const where = kept.worker ? [trans.__('on %1', kept.worker)] : [];
  return [texts[kept.status] ?? took, ...money(kept.microusd, kept.simulated, trans), ...where].join(' · ');
}

/** How this output was made, one fact a line. */
export function provenanceTitle(kept: Provenance, trans: TranslationBundle): string {
  const place = [kept.provider, kept.instance, kept.region, kept.spot ? trans.__('spot') : '']
    .filter(Boolean)
    .join(', ');
  const price = kept.microusd_per_hour
    ? trans.__('%1/h, %2 in all', dollars(kept.microusd_per_hour), dollars(kept.microusd))
    : '';
  return [
    trans.__('Worker: %1', kept.worker),
    kept.hardware && trans.__('Hardware: %1', kept.hardware),
    place && trans.__('Place: %1', place),
    price && trans.__('Price: %1', kept.simulated ? trans.__('%1 (simulated)', price) : price),
    kept.environment
      ? trans.__('Environment: %1', kept.environment.slice(0, 12))
      : trans.__('Environment: the notebook’s own'),
    trans.__('Began: %1', new Date(kept.began).toLocaleString()),
    trans.__('Ended: %1', new Date(kept.ended).toLocaleString())
  ]
    .filter(Boolean)
    .join('\n');
}

function unclaimedView(run: IRun, nowS: number, trans: TranslationBundle) {
  if (!hasEnded(run)) {
    const time = duration(elapsed(run, nowS));
    const status =
      run.status === 'queued'
        ? trans.__('waits on %1 for its turn · %2', run.worker, time)
        : trans.__('still running on %1 · %2', run.worker, time);
    return { status, attach: { run: run.run, label: trans.__('Attach') } };
  }
  const texts: { [status: string]: string } = {
    ok: trans.__('done on %1; nobody has its outputs yet', run.worker),
    lost: trans.__('was lost on %1; what it had shown is there', run.worker)
  };
  const failed = trans.__('failed on %1; nobody has its outputs yet', run.worker);
  return {
    status: texts[run.status] ?? failed,
    attach: { run: run.run, label: trans.__('Bring them here') }
  };
}

export function viewOf(known: Known, trans: TranslationBundle): View {
  const { target, price, run, provenance, nowS } = known;
  const chip = chipText(target, price, trans);
  const base = {
    chip,
    badge: price?.simulated ? trans.__('%1 · simulated', chip) : chip,
    badgeTitle: badgeTitle(target, trans),
    remote: target.words !== null,
    statusTitle: '',
    attach: null
  };
  if (run && isUnclaimed(run) && !known.attaching) {
    return { ...base, ...unclaimedView(run, nowS, trans), statusTitle: run.hardware, tone: 'waiting' };
  }
  if (run && (isActive(run) || (known.attaching && !hasEnded(run)))) {
    return { ...base, status: activeStatus(run, nowS, trans), statusTitle: run.detail, tone: 'active' };
  }
  if (provenance) {
    const tone = provenance.status === 'ok' ? 'ok' : 'error';
    const title = provenanceTitle(provenance, trans);
    return { ...base, status: pastStatus(provenance, trans), statusTitle: title, tone };
  }
  return { ...base, status: '', tone: 'none' };
}

/** "model: dict, 1.5 MiB" */
export function placeholderText(
  told: { name: string; type: string; size_bytes: number },
  trans: TranslationBundle
): string {
  const what = [told.type, told.size_bytes ? size(told.size_bytes) : ''].filter(Boolean).join(', ');
  return told.name ? trans.__('%1: %2', told.name, what) : what;
}
