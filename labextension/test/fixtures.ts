/** What a server would say, for tests. */
import { IBudget, IBudgetRow, IRun, IWorker } from '../src/protocol';

export function worker(id: string, fields: Partial<IWorker> = {}): IWorker {
  return {
    id,
    name: id,
    notebook: 'a.ipynb',
    notebooks: ['a.ipynb'],
    provider: 'demo',
    state: 'ready',
    phases: [],
    detail: '',
    error: '',
    words: 'gpu=a100',
    instance: 'p4d.24xlarge',
    region: 'us-east-1',
    gpu: 'a100',
    gpu_count: 1,
    gpu_memory_bytes: 40 * 2 ** 30,
    cpus: 12,
    memory_bytes: 85 * 2 ** 30,
    spot: false,
    simulated: true,
    microusd_per_hour: 1_290_000,
    spent_microusd: 0,
    reserved_microusd: 0,
    ends_unix_s: null,
    idle_ends_unix_s: null,
    busy: false,
    cells: [],
    mine: true,
    ...fields
  };
}

export function run(id: string, fields: Partial<IRun> = {}): IRun {
  return {
    run: id,
    notebook: 'a.ipynb',
    cell_id: 'c',
    number: 1,
    worker: 'a100',
    worker_id: 'w',
    phase: 'running',
    status: 'running',
    began_unix_s: 1000,
    ended_unix_s: null,
    microusd_per_hour: 1_290_000,
    microusd: 0,
    simulated: true,
    hardware: '1x A100 40 GiB',
    provider: 'demo',
    instance: 'p4d.24xlarge',
    region: '',
    spot: false,
    environment: '',
    detail: '',
    ...fields
  };
}

export function row(fields: Partial<IBudgetRow> = {}): IBudgetRow {
  return {
    period: 'day',
    notebook: '',
    limit_microusd: 5_000_000,
    spent_microusd: 1_000_000,
    reserved_microusd: 500_000,
    left_microusd: 3_500_000,
    simulated: false,
    ...fields
  };
}

export function budget(): IBudget {
  return { rows: [row()], ends: [] };
}
