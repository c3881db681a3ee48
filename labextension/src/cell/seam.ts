/** What the cells read of the seam between server and screen. */

export interface Run {
  readonly run: string;
  readonly notebook: string;
  readonly cell_id: string;
  readonly number: number;
  readonly worker: string;
  readonly worker_id: string;
  readonly phase: string;
  readonly status: string;
  readonly began_unix_s: number;
  readonly ended_unix_s: number | null;
  readonly microusd_per_hour: number;
  readonly microusd: number;
  readonly simulated: boolean;
  readonly hardware: string;
  readonly provider: string;
  readonly instance: string;
  readonly region: string;
  readonly spot: boolean;
  readonly environment: string;
  readonly detail: string;
  readonly unclaimed?: boolean;
}

export interface Worker {
  readonly id: string;
  readonly name: string;
  readonly notebook: string;
  readonly provider: string;
  readonly state: string;
  readonly words: string;
  readonly microusd_per_hour: number;
  readonly simulated: boolean;
}

export interface Offer {
  readonly microusd_per_hour: number;
  readonly spot_microusd_per_hour: number | null;
  readonly simulated: boolean;
}

export interface Check {
  readonly ok: boolean;
  readonly message: string;
  readonly advice: string;
  readonly words: string;
}
