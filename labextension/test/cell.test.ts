import { nullTranslator } from '@jupyterlab/translation';

import { Offered, choicesOf, wordsOfWorker } from '../src/cell/choices';
import { Writers } from '../src/cell/ownership';
import { Recent } from '../src/cell/recent';
import {
  LatestRuns,
  costNow,
  isActive,
  isUnclaimed,
  provenanceOf,
  readProvenance,
  toWrite
} from '../src/cell/runs';
import { Prices, Sources } from '../src/cell/sources';
import { readTold } from '../src/cell/told';
import { Known, View, viewOf } from '../src/cell/view';
import {
  completions,
  isFree,
  lineWords,
  offerWords,
  options,
  shortName,
  targetOf,
  withLine,
  writtenWords
} from '../src/cell/words';
import { IWorker } from '../src/protocol';

import { run, worker } from './fixtures';

const trans = nullTranslator.load('cellferry');

describe('what may be written next', () => {
  const known = [
    { name: 'gpu', meaning: 'a GPU', example: 'gpu=a100', flag: false },
    { name: 'budget', meaning: 'the most', example: 'budget=5', flag: false },
    { name: 'spot', meaning: 'may be taken', example: 'spot', flag: true }
  ];
  test.each([
    ['', ['gpu=a100', 'budget=5', 'spot']],
    ['g', ['gpu=a100']],
    ['gpu=h100 ', ['gpu=h100 budget=5', 'gpu=h100 spot']],
    ['gpu=h100  b', ['gpu=h100  budget=5']],
    ['spot', []],
    ['nonsense', []]
  ])('after %p', (text, expected) => {
    expect(completions(text, known).map(one => one.value)).toEqual(expected);
  });
});

describe('the words of a cell', () => {
  test.each([
    ['%%remote gpu=a100 budget=5\nx', 'gpu=a100 budget=5'],
    ['\n%%remote\nx', ''],
    ['%%remote   spot  ', 'spot'],
    ['%%remotely\nx', null],
    ['x = 1\n%%remote gpu=a100', null]
  ])('of %j are %j', (source, words) => expect(lineWords(source)).toBe(words));

  test('are written on the line, changed and taken away, and nothing else is touched', () => {
    expect(withLine('x = 1\ny', 'gpu=a100')).toBe('%%remote gpu=a100\nx = 1\ny');
    expect(withLine('%%remote gpu=a100\n\n  x', 'cpus=4')).toBe('%%remote cpus=4\n\n  x');
    expect(withLine('%%remote gpu=a100\nx', '')).toBe('%%remote\nx');
    expect(withLine('%%remote gpu=a100\nx', null)).toBe('x');
    expect(withLine('%%remote', null)).toBe('');
    expect(withLine('x', null)).toBe('x');
  });

  test('its line counts more than its settings, and a line magic is for here', () => {
    expect(targetOf('%%remote cpus=4\nx', { remote: 'gpu=a100' })).toEqual({ said: 'line', words: 'cpus=4' });
    expect(targetOf('x', { remote: ' gpu=a100 ' })).toEqual({ said: 'settings', words: 'gpu=a100' });
    expect(targetOf('x', { remote: '' })).toEqual({ said: 'settings', words: '' });
    expect(targetOf('%remote status', { remote: 'gpu=a100' }).words).toBeNull();
    expect(targetOf('  ', { remote: 'gpu=a100' }).words).toBeNull();
    expect(targetOf('x', { remote: 5 } as any).words).toBeNull();
    expect(writtenWords('', { remote: 'gpu=a100' })).toBe('gpu=a100');
  });

  test('are read like a shell line', () => {
    expect([...options('gpu=a100:2 "files=a b" spot # not=this')]).toEqual([
      ['gpu', 'a100:2'],
      ['files', 'a b'],
      ['spot', '']
    ]);
    expect(offerWords('budget=5 spot gpu=a100 name=x')).toBe('gpu=a100 spot');
  });

  test.each([
    ['gpu=a100 budget=5', 'a100'],
    ['gpu=h100:8', '8× h100'],
    ['name=train cpus=4', 'train'],
    ['provider=demo', 'demo'],
    ['cpus=16', '16 CPUs'],
    ['provider=local', ''],
    ['', '']
  ])('%j is called %j', (words, name) => expect(shortName(words)).toBe(name));

  test('a worker process of this machine is free', () => {
    expect(['', 'cpus=4', 'provider=local gpu=a100'].map(isFree)).toEqual([true, true, true]);
    expect(['gpu=a100', 'provider=demo', 'host=lab'].map(isFree)).toEqual([false, false, false]);
  });
});

describe('the runs of a cell', () => {
  const ended = run('r', { status: 'ok', phase: 'done', ended_unix_s: 1010, microusd: 3583 });

  test('the latest by its begin, of this notebook', () => {
    const runs = new LatestRuns([
      run('old', { began_unix_s: 5 }),
      run('new', { began_unix_s: 9 }),
      run('other', { notebook: 'b.ipynb', began_unix_s: 99 }),
      run('nowhere', { cell_id: '' })
    ]);
    expect(runs.of('a.ipynb', 'c')?.run).toBe('new');
    expect(runs.of('a.ipynb', '')).toBeUndefined();
  });

  test('goes on, or waits for someone', () => {
    expect(isActive(run('r'))).toBe(true);
    expect(isActive(run('r', { unclaimed: true }))).toBe(false);
    expect(isUnclaimed(run('r', { status: 'detached' }))).toBe(true);
    expect(isUnclaimed(ended)).toBe(false);
  });

  test('costs more from second to second, and what it came to at its end', () => {
    expect(costNow(run('r'), 1000 + 3600)).toBe(1_290_000);
    expect(costNow(run('r', { microusd: 2_000_000 }), 1000 + 3600)).toBe(2_000_000);
    expect(costNow(run('r', { status: 'queued' }), 1000 + 3600)).toBe(0);
    expect(costNow(ended, 9999)).toBe(3583);
  });

  test('is kept once, whatever is looked at again', () => {
    const kept = toWrite(ended, undefined);
    expect(kept).toMatchObject({
      run: 'r',
      began: '1970-01-01T00:16:40.000Z',
      ended: '1970-01-01T00:16:50.000Z'
    });
    expect(toWrite(ended, kept)).toBeNull();
    expect(toWrite(ended, JSON.parse(JSON.stringify(kept)))).toBeNull();
    expect(toWrite({ ...ended, microusd: 4000 }, kept)?.microusd).toBe(4000);
    expect(toWrite(run('r'), undefined)).toBeNull();
    expect(toWrite({ ...ended, unclaimed: true }, undefined)).toBeNull();
    const later = provenanceOf({ ...ended, run: 'later', began_unix_s: 2000, ended_unix_s: 2001 });
    expect(toWrite(ended, later)).toBeNull();
  });

  test('what another hand left is used only if it is whole', () => {
    expect(readProvenance(provenanceOf(ended))).toEqual(provenanceOf(ended));
    for (const broken of [null, 5, [], {}, { ...provenanceOf(ended), began: 'soon' }]) {
      expect(readProvenance(broken)).toBeNull();
    }
  });
});

describe('what a cell shows', () => {
  const known = (fields: Partial<Known>): Known => ({
    target: { said: 'settings', words: 'gpu=a100' },
    price: null,
    run: undefined,
    provenance: null,
    attaching: false,
    nowS: 1012,
    ...fields
  });
  const real = { microusdPerHour: 1_290_000, simulated: false };
  const ended = run('r', { status: 'ok', ended_unix_s: 1010, microusd: 3583, simulated: false });

  test('where it runs and for how much', () => {
    const local = { said: 'nothing', words: null } as const;
    expect(viewOf(known({ target: local }), trans)).toMatchObject({
      badge: 'local',
      remote: false,
      status: ''
    });
    expect(viewOf(known({ price: real }), trans)).toMatchObject({ badge: 'a100 · $1.29/h', remote: true });
    expect(viewOf(known({ price: { ...real, simulated: true } }), trans).badge).toBe(
      'a100 · $1.29/h · simulated'
    );
    expect(viewOf(known({ target: { said: 'line', words: '' } }), trans).badge).toBe('worker');
  });

  test('while it runs and afterwards', () => {
    const going = viewOf(known({ run: run('r', { simulated: false }) }), trans);
    expect(going).toMatchObject({ status: 'running · 12 s · $0.0043', tone: 'active', attach: null });
    const after = viewOf(known({ provenance: provenanceOf(ended) }), trans);
    expect(after).toMatchObject({ status: '10 s · $0.0036 · on a100', tone: 'ok' });
    expect(after.statusTitle).toContain('1x A100 40 GiB');
    const failed = provenanceOf({ ...ended, status: 'error', microusd: 0, ended_unix_s: 1000.42 });
    expect(viewOf(known({ provenance: failed }), trans)).toMatchObject({
      status: 'failed after 0.4 s · on a100',
      tone: 'error'
    });
  });

  test('that a run waits to be attached to, until it is', () => {
    const waiting = run('r', { status: 'detached', unclaimed: true });
    const view = viewOf(known({ run: waiting }), trans);
    expect(view).toMatchObject({
      status: 'still running on a100 · 12 s',
      attach: { run: 'r', label: 'Attach' }
    });
    expect(viewOf(known({ run: waiting, attaching: true }), trans)).toMatchObject({
      attach: null,
      tone: 'active'
    });
    const over = viewOf(known({ run: { ...ended, unclaimed: true } }), trans);
    expect(over.attach?.label).toBe('Bring them here');
  });
});

test('a thousand cells are looked at within a moment, with 50 workers and 1,000 runs', () => {
  const workers = Array.from({ length: 50 }, (_, n) => worker(`w${n}`, { words: `gpu=a100 name=w${n}` }));
  const runs = Array.from({ length: 1000 }, (_, n) => run(`r${n}`, { cell_id: `c${n}` }));
  const seen: View[] = [];
  const look = () => {
    const began = performance.now();
    const latest = new LatestRuns(runs);
    const prices = new Prices({ workers, runs, changed: { connect: () => true } } as any);
    for (let n = 0; n < 1000; n++) {
      const target = targetOf(`%%remote gpu=a100 name=w${n % 50}\n${'x = 1\n'.repeat(20)}`, {});
      const price = prices.of(target.words!, 'a.ipynb');
      const known = { target, price, provenance: null, attaching: false, nowS: 2000 };
      seen.push(viewOf({ ...known, run: latest.of('a.ipynb', `c${n}`) }, trans));
    }
    return performance.now() - began;
  };
  // the least of some tries: this machine may have other things to do
  expect(Math.min(...Array.from({ length: 8 }, look))).toBeLessThan(300);
  expect(seen.every(view => view.tone === 'active')).toBe(true);
});

describe('prices', () => {
  class Told implements Sources {
    workers: IWorker[] = [];
    runs = [];
    changed: any = { connect: () => true };
    asked: string[] = [];
    fails = false;

    async offers(words: string): Promise<any[]> {
      this.asked.push(words);
      if (this.fails) {
        throw new Error('no server');
      }
      return [{ microusd_per_hour: 1_290_000, spot_microusd_per_hour: 500_000, simulated: false }];
    }

    check = (): Promise<any> => Promise.resolve({ ok: true });
  }

  test('are a running worker’s, else the cheapest offer’s, asked for once', async () => {
    const told = new Told();
    let now = 0;
    const prices = new Prices(told, () => now);
    const came = jest.fn();
    prices.changed.connect(came);
    expect(prices.of('gpu=a100 budget=5', 'a.ipynb')).toBeNull();
    await Promise.resolve();
    await Promise.resolve();
    expect(prices.of('gpu=a100 budget=7', 'a.ipynb')?.microusdPerHour).toBe(1_290_000);
    expect([told.asked, came.mock.calls.length]).toEqual([['gpu=a100'], 1]);
    now += 11 * 60_000;
    expect(prices.of('gpu=a100', 'a.ipynb')?.microusdPerHour).toBe(1_290_000);
    expect(told.asked.length).toBe(2);
    told.workers = [worker('w', { words: 'gpu=a100 budget=1', microusd_per_hour: 2_000_000 })];
    expect(prices.of('gpu=a100', 'a.ipynb')?.microusdPerHour).toBe(2_000_000);
    expect(prices.of('', 'a.ipynb')).toBeNull();
  });

  test('a spot request has the spot price, and a failure is not asked again at once', async () => {
    const told = new Told();
    const prices = new Prices(told, () => 0);
    prices.of('gpu=a100 spot', 'a.ipynb');
    await Promise.resolve();
    await Promise.resolve();
    expect(prices.of('gpu=a100 spot', 'a.ipynb')?.microusdPerHour).toBe(500_000);
    told.fails = true;
    prices.of('gpu=h100', 'a.ipynb');
    await Promise.resolve();
    await Promise.resolve();
    prices.of('gpu=h100', 'a.ipynb');
    expect(told.asked).toEqual(['gpu=a100 spot', 'gpu=h100']);
  });
});

describe('the menu', () => {
  const offered: Offered = {
    words: 'gpu=a100',
    default: '',
    workers: [
      { name: 'train', words: 'gpu=a100', microusd_per_hour: 1_290_000, simulated: true, hardware: 'a100' }
    ],
    recent: ['gpu=a100', 'gpu=h100', 'gpu=a100 name=train', 'gpu=a100'],
    deafKernel: null,
    hasProvenance: false
  };

  test('offers here, the default, what runs, what was used lately, and to write another', () => {
    const labels = choicesOf(offered, trans).map(group => group.map(choice => choice.label));
    expect(labels).toEqual([
      ['Local: this notebook’s kernel', 'A worker process of this machine'],
      ['train · a100 · $1.29/h · simulated'],
      ['gpu=a100', 'gpu=h100'],
      ['Edit request…']
    ]);
    const checked = choicesOf(offered, trans)
      .flat()
      .filter(choice => choice.checked);
    expect(checked.map(choice => choice.label)).toEqual(['gpu=a100']);
  });

  test('says when the kernel cannot read it', () => {
    const last = choicesOf({ ...offered, deafKernel: 'Python 3', hasProvenance: true }, trans).pop()!;
    expect(last.map(choice => choice.act.kind)).toEqual(['edit', 'switch-kernel', 'provenance']);
  });

  test('a worker is named by its own words', () => {
    expect(wordsOfWorker({ name: 'train', words: 'gpu=a100' })).toBe('gpu=a100 name=train');
    expect(wordsOfWorker({ name: 'train', words: 'name=train' })).toBe('name=train');
    expect(wordsOfWorker({ name: 'default', words: '' })).toBe('');
  });
});

test('recent words are few, each once, and survive nonsense', () => {
  const kept = new Map<string, string>();
  const recent = new Recent({
    getItem: key => kept.get(key) ?? null,
    setItem: (key, value) => void kept.set(key, value)
  });
  for (let n = 0; n < 12; n++) {
    recent.add(`cpus=${n}`);
  }
  recent.add('cpus=9');
  expect(recent.all.slice(0, 3)).toEqual(['cpus=9', 'cpus=11', 'cpus=10']);
  expect(recent.all.length).toBe(8);
  kept.set('cellferry:recent-words', '{"no": 1');
  expect(recent.all).toEqual([]);
  new Recent(null).add('x');
});

test('a placeholder’s name is a name, whatever an output says', () => {
  expect(readTold({ name: 'größe', type: 'dict', size_bytes: 5, worker: 'w', reason: '' }).name).toBe(
    'größe'
  );
  for (const name of ['x; import os', 'x\n!ls', '', 5, 'a b', '--all']) {
    expect(readTold({ name }).name).toBe('');
  }
  expect(readTold(null)).toEqual({ name: '', type: '', size_bytes: 0, worker: '', reason: '' });
});

describe('who writes', () => {
  /** Locks as a browser has them, for one name: a queue, and a way to steal. */
  class Locks {
    holder: { reject: (error: Error) => void } | null = null;
    waiting: (() => void)[] = [];

    request(_name: string, how: any, held?: any): Promise<any> {
      return new Promise((resolve, reject) => {
        const hold = () => {
          const mine = (this.holder = { reject });
          Promise.resolve(held()).then(() => {
            if (this.holder === mine) {
              this.holder = null;
              resolve(undefined);
              this.waiting.shift()?.();
            }
          });
        };
        if (how.steal && this.holder) {
          this.holder.reject(new DOMException('stolen', 'AbortError'));
          hold();
        } else if (this.holder) {
          this.waiting.push(hold);
        } else {
          hold();
        }
      });
    }
  }

  const settled = () => new Promise(resolve => setTimeout(resolve));

  test('the tab that runs the cell, else the first that sees it, then the next', async () => {
    const locks = new Locks() as any;
    const [one, two] = [new Writers(locks), new Writers(locks)];
    const granted = jest.fn();
    one.ask('c', () => undefined);
    two.ask('c', granted);
    two.ask('c', granted);
    await settled();
    expect([one.mayWrite('c'), two.mayWrite('c')]).toEqual([true, false]);
    one.release('c');
    await settled();
    expect([one.mayWrite('c'), two.mayWrite('c'), granted.mock.calls.length]).toEqual([false, true, 1]);
    one.take('c');
    await settled();
    expect([one.mayWrite('c'), two.mayWrite('c')]).toEqual([true, false]);
  });

  test('every tab where the browser has no locks', () => {
    const alone = new Writers(undefined);
    alone.take('c');
    expect(alone.mayWrite('c')).toBe(true);
  });
});
