import { Signal } from '@lumino/signaling';

import { ApiError } from '../src/api';
import { ILiveState, NOTHING } from '../src/live';
import { isNewer, PanelModel } from '../src/panel/model';
import { VERSION } from '../src/version';

import { worker } from './fixtures';

jest.mock('@jupyterlab/services', () => ({
  ServerConnection: { makeRequest: (...args: unknown[]) => (globalThis as any).answer(...args) }
}));

const trans: any = {
  __: (text: string, ...rest: unknown[]) => text.replace(/%(\d)/g, (_, n) => String(rest[Number(n) - 1]))
};
const server: any = { baseUrl: 'http://here/', wsUrl: 'ws://here/' };

class Pushed {
  state: ILiveState = NOTHING;
  changed = new Signal<any, ILiveState>(this);
  watch = jest.fn();
  connect = jest.fn();
  push(fields: Partial<ILiveState>) {
    this.state = { ...this.state, ...fields };
    this.changed.emit(this.state);
  }
}

function answers(status: number, body: unknown) {
  const asked = jest.fn(async () => new Reply(status, body));
  (globalThis as any).answer = asked;
  return asked;
}

class Reply {
  constructor(
    readonly status: number,
    private readonly body: unknown
  ) {}
  readonly statusText = 'no';
  get ok() {
    return this.status < 300;
  }
  async text() {
    return typeof this.body === 'string' ? this.body : JSON.stringify(this.body);
  }
}

test('versions that differ name the exact command', async () => {
  const model = new PanelModel(new Pushed() as any, server, trans);
  expect(model.versionProblem()).toBeNull();
  answers(200, { version: VERSION, protocol: 1 });
  await model.askVersion();
  expect(model.versionProblem()).toBeNull();
  answers(200, { version: '99.0.0', protocol: 1 });
  await model.askVersion();
  expect(model.versionProblem()?.command).toBe('pip install --upgrade "cellferry==99.0.0"');
  answers(200, { version: '0.0.1', protocol: 1 });
  await model.askVersion();
  expect(model.versionProblem()?.command).toBe(`pip install --upgrade "cellferry==${VERSION}"`);
  answers(404, 'not here');
  await model.askVersion();
  expect(model.versionProblem()?.command).toBe('jupyter server extension enable cellferry.jupyter.server');
  expect([isNewer('1.10.0', '1.9.2'), isNewer('1.9', '1.9.0'), isNewer('0.1.0', '0.2.0')]).toEqual([
    true,
    false,
    false
  ]);
});

test('what is refused is told with its advice, until something works', async () => {
  const model = new PanelModel(new Pushed() as any, server, trans);
  answers(409, { message: 'no money', advice: 'raise it' });
  expect(await model.attempt(() => model.start('gpu=a100'))).toBe(false);
  expect(model.state.problem).toEqual({ message: 'no money', advice: 'raise it' });
  const asked = answers(202, { name: 'default' });
  expect(await model.attempt(() => model.start('gpu=a100'))).toBe(true);
  expect(model.state.problem).toBeNull();
  expect(asked).toHaveBeenCalledWith(
    'http://here/cellferry/api/workers',
    { method: 'POST', body: '{"words":"gpu=a100","notebook":""}' },
    server
  );
  expect(model.problemOf(new ApiError(0, 'x')).message).toContain('does not answer');
});

test('changes are said in words', () => {
  const pushed = new Pushed();
  answers(404, '');
  const model = new PanelModel(pushed as any, server, trans);
  pushed.push({ workers: [worker('a', { state: 'starting' })] });
  expect(model.state.said).toBe('');
  pushed.push({ workers: [worker('a')] });
  expect(model.state.said).toBe('Worker a is ready.');
  pushed.push({ workers: [worker('b', { state: 'failed' })] });
  expect(model.state.said).toBe('Worker b could not be started. Worker a has ended.');
});

test('a terminal of a worker is reached through the server, whatever its id', () => {
  const model = new PanelModel(new Pushed() as any, server, trans);
  expect(model.terminalSettings(worker('a/b')).baseUrl).toBe(
    'http://here/cellferry/api/workers/a%2Fb/terminals/'
  );
});
