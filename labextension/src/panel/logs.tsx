/** What a worker and its kernel have written, in a tab of its own. Text, and nothing else. */
import { ReactWidget } from '@jupyterlab/apputils';
import { listIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { IWorker } from '../protocol';

import { PanelModel } from './model';

function Logs(props: { model: PanelModel; worker: IWorker }): JSX.Element {
  const { model, worker } = props;
  const { trans } = model;
  const [which, setWhich] = React.useState<'worker' | 'kernel'>('worker');
  const [asked, setAsked] = React.useState(0);
  const [text, setText] = React.useState('');
  const end = React.useRef<HTMLPreElement>(null);
  React.useEffect(() => {
    let wanted = true;
    model.logs(worker.id, which).then(
      told => wanted && setText(told || trans.__('Nothing was written.')),
      error => {
        const problem = model.problemOf(error);
        return wanted && setText([problem.message, problem.advice].filter(Boolean).join('\n'));
      }
    );
    return () => {
      wanted = false;
    };
  }, [model, trans, worker.id, which, asked]);
  React.useEffect(() => {
    end.current?.scrollTo({ top: end.current.scrollHeight });
  }, [text]);
  const choice = (name: 'worker' | 'kernel', label: string) => (
    <button
      className={`jp-mod-styled ${which === name ? 'jp-mod-accept' : ''}`}
      aria-pressed={which === name}
      onClick={() => setWhich(name)}
    >
      {label}
    </button>
  );
  return (
    <div className="cf-logs">
      <div className="cf-buttons">
        {choice('worker', trans.__('Worker'))}
        {choice('kernel', trans.__('Kernel'))}
        <button className="jp-mod-styled" onClick={() => setAsked(asked + 1)}>
          {trans.__('Refresh')}
        </button>
      </div>
      <pre ref={end} tabIndex={0} aria-label={trans.__('What %1 has written', worker.name)}>
        {text}
      </pre>
    </div>
  );
}

/** See above. */
export class LogView extends ReactWidget {
  constructor(
    private readonly model: PanelModel,
    private readonly worker: IWorker
  ) {
    super();
    this.title.icon = listIcon;
    this.title.label = model.trans.__('%1: logs', worker.name);
    this.title.closable = true;
    this.addClass('cf-log-view');
  }

  protected override render(): JSX.Element {
    return <Logs model={this.model} worker={this.worker} />;
  }
}
