import { baseName, dollars, duration, readDollars, roughly, size } from '../src/panel/format';

test.each([
  [0, '$0.00'],
  [1_290_000, '$1.29'],
  [4_200, '$0.0042'],
  [4_000, '$0.004'],
  [9, '$0.000009'],
  [-2_500_000, '-$2.50'],
  [10_000, '$0.01']
])('%d micro-dollars are %s', (microusd, text) => expect(dollars(microusd)).toBe(text));

test.each([
  ['5', 5_000_000],
  [' $1.50 ', 1_500_000],
  ['0,25', 250_000],
  ['', null],
  ['-1', null],
  ['much', null]
])('%p is read as %p', (text, microusd) => expect(readDollars(text)).toBe(microusd));

test.each([
  [-3, '0 s'],
  [8.9, '8 s'],
  [200, '3:20'],
  [3840, '1:04:00']
])('%d seconds are %s', (seconds, text) => expect(duration(seconds)).toBe(text));

test('lengths of time, sizes and names', () => {
  expect([5, 720, 7200, 4 * 86400].map(roughly)).toEqual(['5 s', '12 min', '2 h', '4 d']);
  expect([512, 1.5 * 2 ** 20, 80 * 2 ** 30].map(size)).toEqual(['512 B', '1.5 MiB', '80 GiB']);
  expect(baseName('a/b/c.ipynb')).toBe('c');
});
