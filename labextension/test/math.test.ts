import { ILiveState, NOTHING } from '../src/live';
import {
  budgetRows,
  changes,
  EMPTY_FORM,
  endOf,
  gaugeOf,
  gpuText,
  inOrder,
  matches,
  stepsOf,
  wordsOf
} from '../src/panel/math';
import { moved, visible } from '../src/panel/windowed';

import { row, run, worker } from './fixtures';

describe('a gauge', () => {
  test.each([
    ['with room', {}, { spent: 0.2, reserved: 0.1, level: 'calm' }],
    [
      'without a limit',
      { limit_microusd: null, left_microusd: null },
      { spent: 0, reserved: 0, level: 'none' }
    ],
    ['near its end', { spent_microusd: 3_500_000 }, { spent: 0.7, reserved: 0.1, level: 'near' }],
    ['beyond it', { spent_microusd: 6_000_000 }, { spent: 1, reserved: 0, level: 'over' }],
    [
      'beyond it with what is set aside',
      { spent_microusd: 4_500_000, reserved_microusd: 1_000_000 },
      { spent: 0.9, reserved: expect.closeTo(0.1), level: 'over' }
    ],
    [
      'with a limit of nothing',
      { limit_microusd: 0, spent_microusd: 0, reserved_microusd: 0 },
      { spent: 1, reserved: 0, level: 'near' }
    ]
  ] as const)('%s', (_, fields, gauge) => expect(gaugeOf(row(fields))).toEqual(gauge));

  test('of another notebook is not shown; real money stands first', () => {
    const rows = [
      row({ period: 'month', simulated: true }),
      row({ period: 'month' }),
      row({ period: 'notebook', notebook: 'b.ipynb' }),
      row({ period: 'notebook', notebook: 'a.ipynb' })
    ];
    const shown = budgetRows(rows, 'a.ipynb').map(each => [each.period, each.simulated]);
    expect(shown).toEqual([
      ['notebook', false],
      ['month', false],
      ['month', true]
    ]);
  });
});

test.each([
  [{}, ''],
  [{ gpu: 'A100', count: '2' }, 'gpu=a100:2'],
  [{ gpu: ' rtx 4090 ', count: '1' }, 'gpu=rtx-4090'],
  [{ cpus: '8', memory: '32', spot: true }, 'cpus=8 memory=32G spot'],
  [{ memory: '512 M', more: ' budget=5 ' }, 'memory=512M budget=5'],
  [{ count: '4' }, '']
])('the form %j asks for %p', (fields, words) => expect(wordsOf({ ...EMPTY_FORM, ...fields })).toBe(words));

test('hardware and searches', () => {
  expect(gpuText(worker('a'))).toBe('1× A100 40 GiB');
  expect(gpuText(worker('a', { gpu: '' }))).toBe('');
  expect(matches('demo eu-central-1 a100', 'EU a100')).toBe(true);
  expect(matches('demo eu-central-1 a100', 'h100')).toBe(false);
  expect(matches('anything', '')).toBe(true);
});

describe('the steps of a start', () => {
  test('those before, the one now, those to come', () => {
    const steps = stepsOf([
      { phase: 'requested', at_unix_s: 10 },
      { phase: 'booting', at_unix_s: 12.5 }
    ]);
    expect(steps.map(step => [step.phase, step.state, step.took_s])).toEqual([
      ['requested', 'done', 2.5],
      ['booting', 'now', null],
      ['environment', 'next', null],
      ['data', 'next', null],
      ['ready', 'next', null]
    ]);
  });

  test('a step that was left out is done, and ready is the end', () => {
    const steps = stepsOf([
      { phase: 'requested', at_unix_s: 10 },
      { phase: 'ready', at_unix_s: 11 }
    ]);
    expect(steps.every(step => step.state === 'done')).toBe(true);
    expect(steps[0].took_s).toBe(1);
  });

  test('before anything was told', () => {
    expect(stepsOf([]).every(step => step.state === 'next')).toBe(true);
  });
});

test('a worker ends by its lease or for want of use, whichever is first', () => {
  expect(endOf(worker('a'))).toBeNull();
  expect(endOf(worker('a', { ends_unix_s: 50 }))).toEqual({ at: 50, why: 'lease' });
  expect(endOf(worker('a', { ends_unix_s: 50, idle_ends_unix_s: 20 }))).toEqual({ at: 20, why: 'idle' });
  expect(endOf(worker('a', { ends_unix_s: 50, idle_ends_unix_s: 80 }))).toEqual({ at: 50, why: 'lease' });
});

test('runs that go on or wait for someone stand first', () => {
  const runs = [
    run('1', { ended_unix_s: 5, status: 'ok' }),
    run('2'),
    run('3', { ended_unix_s: 4, status: 'ok', unclaimed: true })
  ];
  expect(inOrder(runs).map(each => each.run)).toEqual(['2', '3', '1']);
});

describe('what is said aloud', () => {
  const state = (fields: Partial<ILiveState>): ILiveState => ({ ...NOTHING, ...fields });

  test('nothing at first', () => {
    expect(changes(NOTHING, state({ workers: [worker('a')], runs: [run('1')] }))).toEqual([]);
  });

  test('a worker that gets its id is the one that was starting', () => {
    const before = state({ workers: [worker('starting:1:a', { name: 'a', state: 'starting' })] });
    const after = state({ workers: [worker('w1', { name: 'a' })] });
    expect(changes(before, after)).toEqual([{ what: 'ready', worker: 'a' }]);
    expect(changes(after, state({ workers: [] }))).toEqual([{ what: 'ended', worker: 'a' }]);
  });

  test('a run that ends', () => {
    const over = run('1', { ended_unix_s: 5, status: 'ok' });
    expect(changes(state({ runs: [run('1')] }), state({ runs: [over] }))).toEqual([
      { what: 'run', run: over }
    ]);
    expect(changes(state({ runs: [] }), state({ runs: [over] }))).toEqual([]);
  });
});

test('of a long list only what can be seen is drawn', () => {
  expect(visible(0, 320, 40, 1000)).toEqual([0, 12]);
  expect(visible(4000, 320, 40, 1000)).toEqual([96, 112]);
  expect(visible(4000, 320, 40, 3)).toEqual([3, 3]);
  expect([
    moved('ArrowDown', 0, 3, 5),
    moved('End', 0, 3, 5),
    moved('PageUp', 1, 3, 5),
    moved('a', 1, 3, 5)
  ]).toEqual([1, 2, 0, null]);
  expect(moved('Home', 0, 0, 5)).toBeNull();
});
