/** The panel at the side: hardware, workers, money, runs. */
import { ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, IThemeManager } from '@jupyterlab/apputils';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStateDB } from '@jupyterlab/statedb';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { ILive, Live } from '../live';

import { Actions } from './actions';
import { ferryIcon } from './icon';
import { PanelModel } from './model';
import { Panel } from './panel';

const PLUGIN = '@cellferry/lab:plugin';
const STATE = 'cellferry:panel';
const RANK = 400;

/** What the user may choose; see schema/plugin.json. */
interface IChoices {
  openAtStart: boolean;
  plots: boolean;
  confirmEnd: boolean;
}

const live: JupyterFrontEndPlugin<ILive> = {
  id: '@cellferry/lab:live',
  description: 'What goes on at the workers, as the server pushes it.',
  autoStart: true,
  provides: ILive,
  activate: (app: JupyterFrontEnd): ILive => {
    const client = new Live(app.serviceManager.serverSettings);
    void app.restored.then(() => client.connect());
    return client;
  }
};

/** Tell the model which notebook is shown, and what its remote cells ask for. */
function follow(notebooks: INotebookTracker, model: PanelModel): void {
  let leave: () => void = () => undefined;
  const look = () => {
    leave();
    const panel = notebooks.currentWidget;
    const tell = () => {
      const told = panel?.content.model?.getMetadata('cellferry');
      const words = typeof told?.default === 'string' ? told.default : '';
      const notebook = panel?.context.localPath ?? '';
      if (words !== model.state.words || notebook !== model.state.notebook) {
        model.set({ notebook, words });
      }
    };
    tell();
    if (!panel) {
      return;
    }
    if (!panel.context.isReady) {
      void panel.context.ready.then(() => notebooks.currentWidget === panel && look());
    }
    const metadata = panel.content.model?.metadataChanged;
    panel.context.pathChanged.connect(tell);
    metadata?.connect(tell);
    leave = () => {
      panel.context.pathChanged.disconnect(tell);
      metadata?.disconnect(tell);
    };
  };
  notebooks.currentChanged.connect(look);
  look();
}

async function remember(panel: Panel, state: IStateDB | null): Promise<void> {
  const known = (await state?.fetch(STATE)) as { folded?: string[] } | undefined;
  if (Array.isArray(known?.folded)) {
    panel.setFolded(known.folded);
  }
  panel.foldedChanged.connect((_, folded) => void state?.save(STATE, { folded: [...folded] }));
}

const panel: JupyterFrontEndPlugin<void> = {
  id: PLUGIN,
  description: 'The panel: machines, workers, money and runs.',
  autoStart: true,
  requires: [ILive, INotebookTracker],
  optional: [ISettingRegistry, ITranslator, ILayoutRestorer, ICommandPalette, IThemeManager, IStateDB],
  activate: (
    app: JupyterFrontEnd,
    pushed: ILive,
    notebooks: INotebookTracker,
    settings: ISettingRegistry | null,
    translator: ITranslator | null,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null,
    themes: IThemeManager | null,
    state: IStateDB | null
  ) => {
    const trans = (translator ?? nullTranslator).load('cellferry');
    const choices: IChoices = { openAtStart: false, plots: true, confirmEnd: true };
    const model = new PanelModel(pushed, app.serviceManager.serverSettings, trans);
    const actions = new Actions(app, notebooks, model, () => choices.confirmEnd);
    const widget = new Panel(model, actions);
    app.shell.add(widget, 'right', { rank: RANK, type: 'cellferry' });
    restorer?.add(widget, widget.id);
    themes?.themeChanged.connect(() => widget.themeChanged());
    follow(notebooks, model);
    void remember(widget, state);
    void model.askVersion();

    app.commands.addCommand('cellferry:open', {
      label: trans.__('cellferry: show the panel'),
      caption: trans.__('Machines, workers, money and runs'),
      icon: ferryIcon,
      execute: () => {
        if (widget.isVisible && widget.node.contains(document.activeElement)) {
          notebooks.currentWidget && app.shell.activateById(notebooks.currentWidget.id);
          return;
        }
        app.shell.activateById(widget.id);
        widget.node.querySelector<HTMLElement>('button')?.focus();
      }
    });
    palette?.addItem({ command: 'cellferry:open', category: 'cellferry' });

    if (settings) {
      void settings.load(PLUGIN).then(loaded => {
        const read = () => {
          Object.assign(choices, loaded.composite);
          widget.setPlots(choices.plots);
        };
        loaded.changed.connect(read);
        read();
        if (choices.openAtStart) {
          void app.restored.then(() => app.shell.activateById(widget.id));
        }
      });
    }
  }
};

export const panelPlugins: JupyterFrontEndPlugin<any>[] = [live, panel];
