import { extend, HISTORY_S, keepEqual, Live, NOTHING, reduce, waitBefore } from '../src/live';
import { ISample } from '../src/protocol';

import { budget, run, worker } from './fixtures';

const sample = (at_unix_s: number): ISample => ({
  at_unix_s,
  cpu: 0.5,
  memory_used_bytes: 1,
  memory_total_bytes: 2,
  net_in_bytes_s: 0,
  net_out_bytes_s: 0,
  gpus: []
});

describe('the sections', () => {
  test('what did not change keeps its identity', () => {
    const first = reduce(NOTHING, { section: 'workers', data: [worker('a'), worker('b')] });
    expect(reduce(first, { section: 'workers', data: [worker('a'), worker('b')] })).toBe(first);
    const second = reduce(first, { section: 'workers', data: [worker('a'), worker('b', { busy: true })] });
    expect(second.workers![0]).toBe(first.workers![0]);
    expect(second.workers![1].busy).toBe(true);
  });

  test('a worker that is gone is gone, and order counts', () => {
    const first = reduce(NOTHING, { section: 'workers', data: [worker('a'), worker('b')] });
    expect(reduce(first, { section: 'workers', data: [worker('b')] }).workers).toEqual([worker('b')]);
    const ids = (list: readonly { id: string }[]) => list.map(item => item.id);
    expect(ids(keepEqual(first.workers, [worker('b'), worker('a')], item => item.id))).toEqual(['b', 'a']);
  });

  test('runs and the budget are kept as well', () => {
    const first = reduce(NOTHING, { section: 'runs', data: [run('1')] });
    expect(reduce(first, { section: 'runs', data: [run('1')] })).toBe(first);
    const money = reduce(first, { section: 'budget', data: budget() });
    expect(reduce(money, { section: 'budget', data: budget() })).toBe(money);
  });

  test('a section of a later server changes nothing', () => {
    expect(reduce(NOTHING, { section: 'weather', data: 1 } as any)).toBe(NOTHING);
  });
});

describe('the numbers of a worker', () => {
  test('go on where they ended, told twice or not', () => {
    const first = extend(undefined, { worker: 'a', from: 10, rows: [sample(1), sample(6)] });
    expect(first.next).toBe(12);
    const second = extend(first, { worker: 'a', from: 11, rows: [sample(6), sample(11)] });
    expect(second.rows.map(row => row.at_unix_s)).toEqual([1, 6, 11]);
    expect(second.next).toBe(13);
  });

  test('begin anew after a gap, and when the worker began anew', () => {
    const first = extend(undefined, { worker: 'a', from: 10, rows: [sample(1), sample(6)] });
    expect(extend(first, { worker: 'a', from: 20, rows: [sample(60)] }).rows).toHaveLength(1);
    expect(extend(first, { worker: 'a', from: 0, rows: [sample(60)] })).toEqual({
      next: 1,
      rows: [sample(60)]
    });
  });

  test('end after 15 minutes', () => {
    const rows = Array.from({ length: 400 }, (_, n) => sample(n * 5));
    const history = extend(undefined, { worker: 'a', from: 0, rows });
    expect(history.rows[0].at_unix_s).toBe(399 * 5 - HISTORY_S);
    expect(history.next).toBe(400);
  });
});

test('tries come ever less often, up to a limit', () => {
  const waits = [0, 1, 2, 10].map(attempt => waitBefore(attempt, () => 0.5));
  expect(waits).toEqual([500, 1000, 2000, 15000]);
});

describe('the socket', () => {
  const sockets: FakeSocket[] = [];
  class FakeSocket {
    readyState = 0;
    sent: string[] = [];
    onopen: any;
    onclose: any;
    onmessage: any;
    constructor(readonly url: string) {
      sockets.push(this);
    }
    open() {
      this.readyState = 1;
      this.onopen();
    }
    say(message: unknown) {
      this.onmessage({ data: JSON.stringify(message) });
    }
    send(text: string) {
      this.sent.push(text);
    }
    close() {
      this.readyState = 3;
      this.onclose?.();
    }
  }
  const settings = { wsUrl: 'ws://here/base/', appendToken: true, token: 't', WebSocket: FakeSocket } as any;

  beforeEach(() => {
    sockets.length = 0;
    jest.useFakeTimers();
  });
  afterEach(() => jest.useRealTimers());

  test('comes back by itself, and asks for the same numbers again', () => {
    const live = new Live(settings);
    const seen: boolean[] = [];
    live.changed.connect((_, state) => seen.push(state.connected));
    live.connect();
    expect(sockets[0].url).toBe('ws://here/base/cellferry/api/live?token=t');
    sockets[0].open();
    live.watch('panel', ['w1']);
    live.watch('cell', ['w1', 'w0']);
    expect(sockets[0].sent.slice(1)).toEqual(['{"watch":["w1"]}', '{"watch":["w0","w1"]}']);
    sockets[0].say({ section: 'workers', data: [worker('a')] });
    sockets[0].close();
    expect(live.state.connected).toBe(false);
    expect(live.state.workers).toHaveLength(1);
    jest.advanceTimersByTime(1000);
    sockets[1].open();
    expect(sockets[1].sent).toEqual(['{"watch":["w0","w1"]}']);
    expect(live.state.connected).toBe(true);
    live.dispose();
    jest.advanceTimersByTime(60_000);
    expect(sockets).toHaveLength(2);
  });

  test('is one, however often one connects', () => {
    const live = new Live(settings);
    live.connect();
    live.connect();
    sockets[0].open();
    live.connect();
    expect(sockets).toHaveLength(1);
    live.dispose();
  });
});
