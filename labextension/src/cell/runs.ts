/** The runs of one cell: what goes on, what it came to, and what is kept of it in the notebook. Pure. */
import type { IRun } from '../protocol';

/** What a notebook keeps of how an output was made; see the cell's metadata, `cellferry.provenance`. */
export interface Provenance {
  run: string;
  worker: string;
  provider: string;
  instance: string;
  hardware: string;
  region: string;
  spot: boolean;
  environment: string;
  microusd_per_hour: number;
  microusd: number;
  simulated: boolean;
  began: string;
  ended: string;
  status: string;
}

const ENDED = new Set(['ok', 'error', 'stopped', 'lost']);
export function hasEnded(run: IRun): boolean {
  return ENDED.has(run.status);
}

/** Its outputs are still to be collected: nobody waits for it, and nobody has them. */
export function isUnclaimed(run: IRun): boolean {
  return run.unclaimed ?? (run.status === 'detached' || run.status === 'unclaimed');
}

/** Going on, and somebody sees its outputs. */
export function isActive(run: IRun): boolean {
  return !hasEnded(run) && !isUnclaimed(run);
}

const key = (notebook: string, cell: string) => `${notebook}\n${cell}`;

/** The latest run of each cell. Runs come newest first, but two sources are merged in them: the begin decides. */
export class LatestRuns {
  constructor(runs: readonly IRun[] = []) {
    for (const run of runs) {
      const at = key(run.notebook, run.cell_id);
      const known = this._runs.get(at);
      if (run.cell_id && (!known || run.began_unix_s > known.began_unix_s)) {
        this._runs.set(at, run);
      }
    }
  }

  of(notebook: string, cell: string): IRun | undefined {
    return this._runs.get(key(notebook, cell));
  }

  private _runs = new Map<string, IRun>();
}

const isoTime = (unixS: number) => new Date(unixS * 1000).toISOString();

/** What the notebook is to keep of a run that has ended. */
export function provenanceOf(run: IRun): Provenance {
  return {
    run: run.run,
    worker: run.worker,
    provider: run.provider,
    instance: run.instance,
    hardware: run.hardware,
    region: run.region,
    spot: run.spot,
    environment: run.environment,
    microusd_per_hour: run.microusd_per_hour,
    microusd: run.microusd,
    simulated: run.simulated,
    began: isoTime(run.began_unix_s),
    ended: isoTime(run.ended_unix_s ?? run.began_unix_s),
    status: run.status
  };
}

/** What another hand, or an older release, left in the metadata: used only if it is what it should be. */
export function readProvenance(kept: unknown): Provenance | null {
  const found = kept as Partial<Provenance> | null | undefined;
  const texts: (keyof Provenance)[] = ['run', 'worker', 'provider', 'hardware', 'began', 'ended', 'status'];
  if (!found || typeof found !== 'object' || texts.some(name => typeof found[name] !== 'string')) {
    return null;
  }
  if (
    typeof found.microusd !== 'number' ||
    isNaN(Date.parse(found.began!)) ||
    isNaN(Date.parse(found.ended!))
  ) {
    return null;
  }
  return {
    instance: '',
    region: '',
    spot: false,
    environment: '',
    microusd_per_hour: 0,
    simulated: false,
    ...found
  } as Provenance;
}

/** The provenance to write now; `null` when the notebook has it already, or knows of a later run. */
export function toWrite(run: IRun | undefined, kept: unknown): Provenance | null {
  if (!run || !hasEnded(run) || isUnclaimed(run)) {
    return null;
  }
  const next = provenanceOf(run);
  const before = readProvenance(kept);
  if (before && before.run !== next.run && Date.parse(before.began) >= Date.parse(next.began)) {
    return null;
  }
  const same =
    before && (Object.keys(next) as (keyof Provenance)[]).every(name => next[name] === before[name]);
  return same ? null : next;
}

/** Seconds since it began, by this machine's clock, never less than none. */
export function elapsed(run: IRun, nowS: number): number {
  return Math.max(0, (run.ended_unix_s ?? nowS) - run.began_unix_s);
}

/** What it has cost by now: what was counted last, or the price of the time since, whichever is more. */
export function costNow(run: IRun, nowS: number): number {
  if (hasEnded(run)) {
    return run.microusd;
  }
  const running = run.status === 'running' || run.status === 'detached';
  return Math.max(run.microusd, running ? (elapsed(run, nowS) / 3600) * run.microusd_per_hour : 0);
}
