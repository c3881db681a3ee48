/** Where a cell may run: what the menu offers. Pure. */
import type { TranslationBundle } from '@jupyterlab/translation';

import { dollars } from '../panel/format';
import { shortName } from './words';

export type Act =
  | { readonly kind: 'run-at'; readonly words: string | null }
  | { readonly kind: 'edit'; readonly words: string }
  | { readonly kind: 'switch-kernel' }
  | { readonly kind: 'provenance' };

export interface Choice {
  readonly label: string;
  readonly caption?: string;
  readonly checked?: boolean;
  readonly act: Act;
}

/** Choices in groups; a line stands between two groups. */
export type Choices = readonly (readonly Choice[])[];

export interface Offered {
  /** What the cell says now; `undefined` where several cells say different things. */
  readonly words: string | null | undefined;
  /** The notebook's default, `''` where it has none: a worker process of this machine. */
  readonly default: string;
  readonly workers: readonly {
    name: string;
    words: string;
    microusd_per_hour: number;
    simulated: boolean;
    hardware: string;
  }[];
  readonly recent: readonly string[];
  /** The kernel's name if it runs every cell itself; `null` if it obeys. */
  readonly deafKernel: string | null;
  readonly hasProvenance: boolean;
}

const MOST_RECENT = 5;

/** The words that choose a running worker: its own, with its name where they do not say it. */
export function wordsOfWorker(worker: { name: string; words: string }): string {
  const named = /(^|\s)name=/.test(worker.words) || worker.name === 'default';
  return named ? worker.words : `${worker.words} name=${worker.name}`.trim();
}

export function choicesOf(offered: Offered, trans: TranslationBundle): Choices {
  const at = (label: string, words: string | null, caption = ''): Choice => ({
    label,
    caption,
    checked: offered.words === words,
    act: { kind: 'run-at', words }
  });
  const byDefault = offered.default
    ? at(trans.__('This notebook’s default: %1', offered.default), offered.default)
    : at(trans.__('A worker process of this machine'), '');
  const workers = offered.workers.map(worker => {
    const price = worker.microusd_per_hour ? trans.__('%1/h', dollars(worker.microusd_per_hour)) : '';
    const parts = [worker.name, worker.hardware, price, worker.simulated ? trans.__('simulated') : ''];
    return at(parts.filter(Boolean).join(' · '), wordsOfWorker(worker), trans.__('A worker that is running'));
  });
  const taken = new Set([offered.default, ...workers.map(one => (one.act as { words: string }).words), '']);
  const recent = [...new Set(offered.recent)].filter(words => !taken.has(words)).slice(0, MOST_RECENT);
  const groups: Choice[][] = [
    [at(trans.__('Local: this notebook’s kernel'), null), byDefault],
    workers,
    recent.map(words => at(words, words, trans.__('Used lately: %1', shortName(words) || words))),
    [
      {
        label: trans.__('Edit request…'),
        act: { kind: 'edit', words: offered.words ?? (offered.default || offered.recent[0] || '') }
      }
    ]
  ];
  if (offered.deafKernel !== null) {
    groups[3].push({
      label: trans.__('“%1” cannot read this: use kernel cellferry…', offered.deafKernel),
      act: { kind: 'switch-kernel' }
    });
  }
  if (offered.hasProvenance) {
    groups[3].push({ label: trans.__('How this output was made…'), act: { kind: 'provenance' } });
  }
  return groups.filter(group => group.length);
}
