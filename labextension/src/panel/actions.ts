/** What the panel has JupyterLab do: notebooks, dialogs, terminals. */
import { JupyterFrontEnd } from '@jupyterlab/application';
import { Dialog, InputDialog, MainAreaWidget, showDialog } from '@jupyterlab/apputils';
import { INotebookTracker, NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import { TerminalManager } from '@jupyterlab/services';
import { terminalIcon } from '@jupyterlab/ui-components';

import { ICell, IRun, IWorker } from '../protocol';

import { dollars, readDollars } from './format';
import { LogView } from './logs';
import { PanelModel } from './model';

/** See `Actions`. */
export interface IActions {
  jump(to: Pick<ICell, 'notebook' | 'cell_id'>): void;
  attach(run: IRun): void;
  useWords(words: string): void;
  start(words: string): Promise<boolean>;
  extend(worker: IWorker): void;
  interrupt(worker: IWorker): void;
  end(worker: IWorker): void;
  dismiss(worker: IWorker): void;
  openTerminal(worker: IWorker): void;
  openLogs(worker: IWorker): void;
}

/** The cell that was asked for, in view and active. */
async function show(panel: NotebookPanel, cellId: string): Promise<void> {
  await panel.revealed;
  const index = panel.content.widgets.findIndex(cell => cell.model.id === cellId);
  if (index >= 0) {
    panel.content.activeCellIndex = index;
    panel.content.deselectAll();
    await panel.content.scrollToCell(panel.content.widgets[index], 'center');
  }
}

/** Everything that a click in the panel does outside of it. */
export class Actions implements IActions {
  constructor(
    private readonly app: JupyterFrontEnd,
    private readonly notebooks: INotebookTracker,
    private readonly model: PanelModel,
    private readonly confirms: () => boolean
  ) {}

  /** Open the notebook, where it is not, and show the cell. */
  jump(to: Pick<ICell, 'notebook' | 'cell_id'>): void {
    void this.model.attempt(async () => {
      const panel = await this.open(to.notebook);
      if (panel) {
        await show(panel, to.cell_id);
      }
    });
  }

  /** `%remote attach RUN` in a new cell below the one that is active, in the notebook of the run or the current one. */
  attach(run: IRun): void {
    void this.model.attempt(async () => {
      const panel = (await this.open(run.notebook)) ?? this.notebooks.currentWidget;
      const command = `%remote attach ${run.run}`;
      if (!panel) {
        const trans = this.model.trans;
        await showDialog({
          title: trans.__('Attach'),
          body: trans.__('Open a notebook and run this in it: %1', command),
          buttons: [Dialog.okButton()]
        });
        return;
      }
      await panel.context.ready;
      await show(panel, run.cell_id);
      NotebookActions.insertBelow(panel.content);
      panel.content.activeCell?.model.sharedModel.setSource(command);
      await NotebookActions.run(panel.content, panel.sessionContext);
    });
  }

  /** These words are what new remote cells of the notebook ask for; "" for nothing. */
  useWords(words: string): void {
    const model = this.notebooks.currentWidget?.content.model;
    if (!model) {
      return;
    }
    const all: Record<string, unknown> = { ...model.getMetadata('cellferry') };
    if (words) {
      all['default'] = words;
    } else {
      delete all['default'];
    }
    if (Object.keys(all).length) {
      model.setMetadata('cellferry', all);
    } else {
      model.deleteMetadata('cellferry');
    }
    this.model.set({ words });
  }

  start(words: string): Promise<boolean> {
    return this.model.attempt(() => this.model.start(words));
  }

  extend(worker: IWorker): void {
    const trans = this.model.trans;
    void this.model.attempt(async () => {
      const hour = Math.max(0.01, worker.microusd_per_hour / 1_000_000);
      const answer = await InputDialog.getText({
        title: trans.__('Extend %1', worker.name),
        label: trans.__(
          'It costs %1 an hour. For how many more dollars may it run?',
          dollars(worker.microusd_per_hour)
        ),
        text: hour.toFixed(2),
        pattern: '\\$?\\d+([.,]\\d{1,6})?',
        required: true,
        okLabel: trans.__('Extend')
      });
      const amount = answer.button.accept ? readDollars(answer.value ?? '') : null;
      if (amount) {
        await this.model.extend(worker, amount / 1_000_000);
      }
    });
  }

  interrupt(worker: IWorker): void {
    void this.model.attempt(() => this.model.interrupt(worker));
  }

  end(worker: IWorker): void {
    const trans = this.model.trans;
    void this.model.attempt(async () => {
      if (this.confirms()) {
        const cost = dollars(worker.spent_microusd);
        const free = trans.__('It costs nothing.');
        const answer = await showDialog({
          title: trans.__('End %1?', worker.name),
          body: [
            worker.microusd_per_hour ? trans.__('It has come to %1.', cost) : free,
            worker.busy ? trans.__('The cell that runs on it is stopped.') : '',
            trans.__('Values that stayed on it are lost.')
          ]
            .filter(Boolean)
            .join(' '),
          buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: trans.__('End it') })]
        });
        if (!answer.button.accept) {
          return;
        }
      }
      await this.model.end(worker);
    });
  }

  /** Of one that could not be started: it need not be shown any more. */
  dismiss(worker: IWorker): void {
    void this.model.attempt(() => this.model.end(worker));
  }

  /** JupyterLab's own terminal, on the worker. */
  openTerminal(worker: IWorker): void {
    const trans = this.model.trans;
    void this.model.attempt(async () => {
      const { Terminal } = await import('@jupyterlab/terminal');
      const manager = new TerminalManager({
        serverSettings: this.model.terminalSettings(worker),
        standby: 'when-hidden'
      });
      try {
        const session = await manager.startNew();
        const content = new Terminal(session, { theme: 'inherit', shutdownOnClose: true });
        content.disposed.connect(() => manager.dispose());
        const area = new MainAreaWidget({ content });
        area.title.icon = terminalIcon;
        area.title.label = worker.name;
        area.title.caption = trans.__('Terminal on %1', worker.name);
        this.app.shell.add(area, 'main', { mode: 'split-bottom' });
        this.app.shell.activateById(area.id);
      } catch (error) {
        manager.dispose();
        throw error;
      }
    });
  }

  openLogs(worker: IWorker): void {
    const content = new LogView(this.model, worker);
    const area = new MainAreaWidget({ content });
    this.app.shell.add(area, 'main', { mode: 'split-bottom' });
    this.app.shell.activateById(area.id);
  }

  private async open(path: string): Promise<NotebookPanel | null> {
    if (!path) {
      return null;
    }
    const known = this.notebooks.find(panel => panel.context.localPath === path);
    if (known) {
      this.app.shell.activateById(known.id);
      return known;
    }
    const opened = await this.app.commands.execute('docmanager:open', { path });
    if (!(opened instanceof NotebookPanel)) {
      return null;
    }
    await opened.context.ready;
    return opened;
  }
}
