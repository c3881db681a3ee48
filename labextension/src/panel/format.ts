/** Numbers as people read them. */

const MICROUSD = 1_000_000;

/** "$1.29", "$0.0042": cents, or below a cent the first two digits that are not zero. */
export function dollars(microusd: number): string {
  const sign = microusd < 0 ? '-' : '';
  const amount = Math.abs(Math.round(microusd));
  if (amount > 0 && amount < MICROUSD / 100) {
    const places = 6 - String(amount).length + 2;
    const text = (amount / MICROUSD).toFixed(Math.min(places, 6));
    const [whole, digits] = text.split('.');
    return `${sign}$${whole}.${digits.slice(0, 2)}${digits.slice(2).replace(/0+$/, '')}`;
  }
  return `${sign}$${(amount / MICROUSD).toFixed(2)}`;
}

/** Dollars as someone typed them, to micro-dollars; null where it is no amount. */
export function readDollars(text: string): number | null {
  const found = /^\s*\$?\s*(\d+(?:[.,]\d{1,6})?)\s*\$?\s*$/.exec(text);
  return found ? Math.round(Number(found[1].replace(',', '.')) * MICROUSD) : null;
}

/** "8 s", "3:20", "1:04:00": how long something took or has to go; never below zero. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  const rest = String(whole % 60).padStart(2, '0');
  if (hours) {
    return `${hours}:${String(minutes).padStart(2, '0')}:${rest}`;
  }
  return minutes ? `${minutes}:${rest}` : `${whole} s`;
}

/** "5 s", "12 min", "3 h", "4 d": a length of time, roughly. */
export function roughly(seconds: number): string {
  const s = Math.max(0, seconds);
  if (s < 60) {
    return `${Math.round(s)} s`;
  }
  if (s < 3600) {
    return `${Math.round(s / 60)} min`;
  }
  return s < 48 * 3600 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`;
}

/** "512 B", "1.5 MiB", "80 GiB". */
export function size(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = Math.max(0, bytes);
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 10 || Math.abs(value - Math.round(value)) < 0.05 ? 0 : 1;
  return `${value.toFixed(digits)} ${units[unit]}`;
}

/** "notebook" of "folder/notebook.ipynb". */
export function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1).replace(/\.ipynb$/, '');
}
