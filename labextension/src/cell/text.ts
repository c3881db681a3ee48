/** Money, time and sizes as people say them. Pure. */

/** 1_290_000 -> "$1.29"; less than a cent keeps its first digits, so that it is never "$0.00" while it costs. */
export function dollars(microusd: number): string {
  const usd = microusd / 1e6;
  if (usd === 0 || Math.abs(usd) >= 0.1) {
    return `$${usd.toFixed(2)}`;
  }
  return `$${usd.toFixed(Math.abs(usd) >= 0.0001 ? 4 : 6)}`;
}

/** 75 -> "1 min 15 s". */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) {
    return seconds < 10 && seconds >= 0 && seconds % 1
      ? `${seconds.toFixed(1)} s`
      : `${whole} s`;
  }
  if (whole < 3600) {
    return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  }
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** 1536 -> "1.5 KiB". */
export function bytes(size: number): string {
  let left = size;
  for (const unit of ['B', 'KiB', 'MiB', 'GiB']) {
    if (left < 1024 || unit === 'GiB') {
      return unit === 'B' ? `${left} B` : `${left.toFixed(1)} ${unit}`;
    }
    left /= 1024;
  }
  return '';
}

/** Seconds since 1970 as ISO 8601 UTC, without fractions of a second beyond milliseconds. */
export function isoTime(unixS: number): string {
  return new Date(unixS * 1000).toISOString();
}
