/**
 * What the server says under `<base>/cellferry/api`, and what is asked of it. Money is in millionths of a dollar, sizes
 * are in bytes, moments in seconds since 1970. Fields are only ever added.
 */

export type PhaseName = 'requested' | 'booting' | 'environment' | 'data' | 'ready';

export const PHASES: readonly PhaseName[] = ['requested', 'booting', 'environment', 'data', 'ready'];

export interface IPhase {
  phase: PhaseName;
  at_unix_s: number;
}

export interface ICell {
  notebook: string;
  cell_id: string;
  number: number | null;
}

export interface IWorker {
  id: string;
  name: string;
  notebook: string;
  notebooks: string[];
  provider: string;
  state: 'starting' | 'ready' | 'ending' | 'failed';
  phases: IPhase[];
  detail: string;
  error: string;
  words: string;
  instance: string;
  region: string;
  gpu: string;
  gpu_count: number;
  gpu_memory_bytes: number;
  cpus: number;
  memory_bytes: number;
  spot: boolean;
  simulated: boolean;
  microusd_per_hour: number;
  spent_microusd: number;
  reserved_microusd: number;
  ends_unix_s: number | null;
  idle_ends_unix_s: number | null;
  busy: boolean;
  cells: ICell[];
  mine: boolean;
}

export type RunStatus = 'running' | 'queued' | 'detached' | 'unclaimed' | 'ok' | 'error' | 'stopped' | 'lost';

export interface IRun {
  run: string;
  notebook: string;
  cell_id: string;
  number: number | null;
  worker: string;
  worker_id: string;
  phase: 'packing' | 'worker' | 'sending' | 'queued' | 'running' | 'home' | 'done';
  status: RunStatus;
  began_unix_s: number;
  ended_unix_s: number | null;
  microusd_per_hour: number;
  microusd: number;
  simulated: boolean;
  hardware: string;
  provider: string;
  instance: string;
  region: string;
  spot: boolean;
  environment: string;
  detail: string;
  detached?: boolean;
  unclaimed?: boolean;
}

export type Period = 'notebook' | 'day' | 'month' | 'person';

export interface IBudgetRow {
  period: Period;
  notebook: string;
  limit_microusd: number | null;
  spent_microusd: number;
  reserved_microusd: number;
  left_microusd: number | null;
  simulated: boolean;
}

export interface IBudget {
  rows: IBudgetRow[];
  ends: { worker: string; will_have_cost_microusd: number }[];
}

export interface IGpuSample {
  name: string;
  use: number;
  memory_used_bytes: number;
  memory_total_bytes: number;
}

export interface ISample {
  at_unix_s: number;
  cpu: number;
  memory_used_bytes: number;
  memory_total_bytes: number;
  net_in_bytes_s: number;
  net_out_bytes_s: number;
  gpus: IGpuSample[];
}

export interface IMetrics {
  worker: string;
  from: number;
  rows: ISample[];
}

/** One message of the socket: a section, whole. Only `metrics` comes in pieces. */
export type LiveMessage =
  | { section: 'workers'; data: IWorker[] }
  | { section: 'runs'; data: IRun[] }
  | { section: 'budget'; data: IBudget }
  | { section: 'metrics'; data: IMetrics };

export interface IOffer {
  provider: string;
  region: string;
  zone: string;
  instance: string;
  gpu: string;
  gpu_count: number;
  gpu_memory_bytes: number;
  cpus: number;
  memory_bytes: number;
  microusd_per_hour: number | null;
  spot_microusd_per_hour: number | null;
  price_age_s: number | null;
  source: string;
  likelihood: 'likely' | 'possible' | 'unlikely' | '';
  note: string;
  simulated: boolean;
  words: string;
}

export interface IOffers {
  offers: IOffer[];
  problems: string[];
}

export interface ICheck {
  ok: boolean;
  message: string;
  advice: string;
  words: string;
}

/** A word that may stand after `%%remote`, as `GET api/words` tells it. */
export interface IWord {
  name: string;
  meaning: string;
  example: string;
  flag: boolean;
}

export interface IDoctorCheck {
  ok: boolean;
  name: string;
  found: string;
  advice: string;
}

export interface IVersion {
  version: string;
  protocol: number;
}
