/** What stands at the cells: where each one runs, and how its outputs were made. */
import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, IToolbarWidgetRegistry } from '@jupyterlab/apputils';
import { Cell, CodeCell } from '@jupyterlab/cells';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, TranslationBundle, nullTranslator } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import { ILive } from '../live';

import { CellActs } from './acts';
import { Chip } from './chip';
import { CellPlace } from './place';
import { Places } from './places';
import { RenderedPlaceholder } from './placeholder';
import { Recent } from './recent';
import { LiveSources } from './sources';
import { MIME } from './told';

export const CELL_PLUGIN = '@cellferry/lab:cell';

export namespace CellCommands {
  /** Choose where the selected cells run. Args: `words` (string, or null for here) to choose without asking. */
  export const choose = 'cellferry:choose-where-cells-run';
  /** The same, and run them. */
  export const runOn = 'cellferry:run-selected-cells-on';
}

const cell: JupyterFrontEndPlugin<void> = {
  id: CELL_PLUGIN,
  description: 'At each cell: where it runs, what its run does, and how its outputs were made.',
  autoStart: true,
  requires: [INotebookTracker, ILive],
  optional: [IToolbarWidgetRegistry, ISettingRegistry, ICommandPalette, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    tracker: INotebookTracker,
    live: ILive,
    toolbars: IToolbarWidgetRegistry | null,
    settings: ISettingRegistry | null,
    palette: ICommandPalette | null,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load('cellferry');
    const sources = new LiveSources(live, app.serviceManager.serverSettings);
    const acts = new CellActs(sources, new Recent(), trans);
    const places = new Places(tracker, sources, acts, trans);
    toolbars?.addFactory<Cell>('Cell', 'cellferry-where', one => {
      const place = places.of(one);
      return place ? new Chip(place, trans) : nothing();
    });
    // the toolbar of cells is made from the settings of all plugins that are loaded
    void settings?.load(CELL_PLUGIN).catch(() => undefined);
    addCommands(app, tracker, acts, places, palette, trans);
  }
};

function nothing(): Widget {
  const empty = new Widget();
  empty.hide();
  return empty;
}

function addCommands(
  app: JupyterFrontEnd,
  tracker: INotebookTracker,
  acts: CellActs,
  places: Places,
  palette: ICommandPalette | null,
  trans: TranslationBundle
): void {
  const selected = (panel: NotebookPanel): CellPlace[] =>
    panel.content.widgets
      .filter(one => one instanceof CodeCell && panel.content.isSelectedOrActive(one))
      .map(one => places.of(one))
      .filter((place): place is CellPlace => place !== null);
  const act = async (words: unknown, run: boolean): Promise<void> => {
    const panel = tracker.currentWidget;
    const chosen = panel ? selected(panel) : [];
    if (!panel || !chosen.length) {
      return;
    }
    const given = words === null || typeof words === 'string';
    const sent = given
      ? await acts.send(panel, chosen, words)
      : await acts.choose(panel, chosen, anchorOf(chosen));
    if (sent && run) {
      await app.commands.execute('notebook:run-cell');
    }
  };
  const isEnabled = () => tracker.currentWidget !== null && selected(tracker.currentWidget).length > 0;
  app.commands.addCommand(CellCommands.choose, {
    label: trans.__('Choose Where Selected Cells Run…'),
    isEnabled,
    execute: args => act(args['words'], false)
  });
  app.commands.addCommand(CellCommands.runOn, {
    label: trans.__('Run Selected Cells On…'),
    isEnabled,
    execute: args => act(args['words'], true)
  });
  for (const command of [CellCommands.choose, CellCommands.runOn]) {
    palette?.addItem({ command, category: trans.__('Notebook Cell Operations') });
  }
}

/** The last of the cells at which something can stand on the page. */
function anchorOf(chosen: readonly CellPlace[]): HTMLElement {
  const seen = chosen.filter(place => place.cell.node.isConnected);
  const node = (seen[seen.length - 1] ?? chosen[0]).cell.node;
  return node.querySelector<HTMLElement>('.jp-InputArea-editor') ?? node;
}

const placeholder: JupyterFrontEndPlugin<void> = {
  id: '@cellferry/lab:placeholder',
  description: 'Draws values that stayed on a worker, with a button that brings them here.',
  autoStart: true,
  requires: [IRenderMimeRegistry, INotebookTracker],
  optional: [ITranslator],
  activate: (
    _app: JupyterFrontEnd,
    rendermime: IRenderMimeRegistry,
    tracker: INotebookTracker,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load('cellferry');
    const createRenderer = () => new RenderedPlaceholder(tracker, trans);
    rendermime.addFactory({ safe: true, mimeTypes: [MIME], createRenderer }, 0);
  }
};

export const cellPlugins: JupyterFrontEndPlugin<any>[] = [cell, placeholder];
