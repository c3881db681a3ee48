/** What the panel works out from what the server says; pure. */
import { ILiveState } from '../live';
import { IBudgetRow, IPhase, IRun, IWorker, PhaseName, PHASES } from '../protocol';

import { size } from './format';

// ---- money ----------------------------------------------------------------------------------------------------------

/** A gauge's parts as fractions of its limit; `level` says how near the end is. Without a limit all are 0. */
export interface IGauge {
  spent: number;
  reserved: number;
  level: 'none' | 'calm' | 'near' | 'over';
}

/** How a limit's gauge stands. */
export function gaugeOf(row: IBudgetRow): IGauge {
  const limit = row.limit_microusd;
  if (limit === null) {
    return { spent: 0, reserved: 0, level: 'none' };
  }
  const used = row.spent_microusd + row.reserved_microusd;
  if (limit <= 0) {
    return { spent: 1, reserved: 0, level: used > 0 ? 'over' : 'near' };
  }
  const spent = Math.min(1, row.spent_microusd / limit);
  const reserved = Math.min(1 - spent, row.reserved_microusd / limit);
  return { spent, reserved, level: used > limit ? 'over' : used >= 0.8 * limit ? 'near' : 'calm' };
}

/** The rows to show: of this notebook, the day, the month, and the person's where there is one; real money first. */
export function budgetRows(rows: readonly IBudgetRow[], notebook: string): IBudgetRow[] {
  const order = ['notebook', 'day', 'month', 'person'];
  return rows
    .filter(row => row.period !== 'notebook' || row.notebook === notebook)
    .sort(
      (a, b) => Number(a.simulated) - Number(b.simulated) || order.indexOf(a.period) - order.indexOf(b.period)
    );
}

// ---- machines -------------------------------------------------------------------------------------------------------

/** "2× A100 40 GiB", "" where there is no GPU. */
export function gpuText(what: { gpu: string; gpu_count: number; gpu_memory_bytes: number }): string {
  if (!what.gpu) {
    return '';
  }
  const memory = what.gpu_memory_bytes ? ` ${size(what.gpu_memory_bytes)}` : '';
  return `${Math.max(1, what.gpu_count)}× ${what.gpu.toUpperCase()}${memory}`;
}

/** What the form holds; every field as it was typed. */
export interface IRequestForm {
  gpu: string;
  count: string;
  cpus: string;
  memory: string;
  spot: boolean;
  more: string;
}

export const EMPTY_FORM: IRequestForm = { gpu: '', count: '', cpus: '', memory: '', spot: false, more: '' };

/** The words after `%%remote` that ask for what the form holds. */
export function wordsOf(form: IRequestForm): string {
  const count = Number(form.count) > 1 ? `:${Number(form.count)}` : '';
  const memory = form.memory.trim().replace(/\s+/g, '');
  const words = [
    form.gpu.trim() ? `gpu=${form.gpu.trim().replace(/\s+/g, '-').toLowerCase()}${count}` : '',
    form.cpus.trim() ? `cpus=${form.cpus.trim()}` : '',
    memory ? `memory=${/^\d+(\.\d+)?$/.test(memory) ? `${memory}G` : memory}` : '',
    form.spot ? 'spot' : '',
    form.more.trim()
  ];
  return words.filter(Boolean).join(' ');
}

/** Whether every word of the search occurs in the text, whatever its case. */
export function matches(text: string, search: string): boolean {
  const lower = text.toLowerCase();
  return search
    .toLowerCase()
    .split(/\s+/)
    .every(word => lower.includes(word));
}

// ---- workers --------------------------------------------------------------------------------------------------------

/** One step of a start: how long it took, or null while it has not ended; `done`, `now` or `next`. */
export interface IStep {
  phase: PhaseName;
  state: 'done' | 'now' | 'next';
  since_unix_s: number | null;
  took_s: number | null;
}

/** The steps of a start in order. A phase that was skipped took no time and counts as done. */
export function stepsOf(phases: readonly IPhase[]): IStep[] {
  const at = new Map(phases.map(each => [each.phase, each.at_unix_s]));
  const last = Math.max(-1, ...phases.map(each => PHASES.indexOf(each.phase)));
  return PHASES.map((phase, n): IStep => {
    const since = at.get(phase) ?? null;
    const next = PHASES.slice(n + 1).find(later => at.has(later));
    const took = since !== null && next !== undefined ? at.get(next)! - since : null;
    const done = n < last || phases[phases.length - 1]?.phase === 'ready';
    return { phase, state: done ? 'done' : n === last ? 'now' : 'next', since_unix_s: since, took_s: took };
  });
}

/** When it ends, and why: its money or lease, or because nobody uses it. Null: nobody knows. */
export function endOf(worker: IWorker): { at: number; why: 'lease' | 'idle' } | null {
  const lease = worker.ends_unix_s;
  const idle = worker.idle_ends_unix_s;
  if (idle !== null && (lease === null || idle < lease)) {
    return { at: idle, why: 'idle' };
  }
  return lease !== null ? { at: lease, why: 'lease' } : null;
}

// ---- runs -----------------------------------------------------------------------------------------------------------

/** Whether it goes on, or waits for someone: those stand first. */
export function isOpen(run: IRun): boolean {
  return run.ended_unix_s === null || isWaiting(run);
}

/** Whether its results wait on the worker for someone who attaches. */
export function isWaiting(run: IRun): boolean {
  return run.status === 'detached' || run.status === 'unclaimed' || Boolean(run.detached || run.unclaimed);
}

/** What goes on first, then the rest; each as the server sorted it: newest first. */
export function inOrder(runs: readonly IRun[]): IRun[] {
  return [...runs.filter(isOpen), ...runs.filter(run => !isOpen(run))];
}

// ---- what is said aloud ---------------------------------------------------------------------------------------------

/** One change that is worth a word to somebody who does not look. */
export type Change =
  { what: 'ready' | 'starting' | 'failed' | 'ended'; worker: string } | { what: 'run'; run: IRun };

/** What changed between two states; nothing at the first one. */
export function changes(before: ILiveState, after: ILiveState): Change[] {
  const found: Change[] = [];
  if (before.workers && after.workers && before.workers !== after.workers) {
    // a worker gets its id while it starts: its name and notebook are the same
    const key = (worker: IWorker) => `${worker.notebook}\n${worker.name}`;
    const old = new Map(before.workers.map(worker => [key(worker), worker]));
    const now = new Set(after.workers.map(key));
    for (const worker of after.workers) {
      const state = old.get(key(worker))?.state;
      if (worker.state !== state && worker.state !== 'ending') {
        found.push({ what: worker.state, worker: worker.name });
      }
    }
    for (const worker of before.workers) {
      if (!now.has(key(worker))) {
        found.push({ what: 'ended', worker: worker.name });
      }
    }
  }
  if (before.runs && after.runs && before.runs !== after.runs) {
    const old = new Map(before.runs.map(run => [run.run, run]));
    for (const run of after.runs) {
      const known = old.get(run.run);
      if (known && known.ended_unix_s === null && run.ended_unix_s !== null) {
        found.push({ what: 'run', run });
      }
    }
  }
  return found;
}
