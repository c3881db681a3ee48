/** What the user does at cells: choose where they run, run some elsewhere, attach to a run that goes on. */
import { Dialog, showDialog } from '@jupyterlab/apputils';
import { CodeCell } from '@jupyterlab/cells';
import { NotebookPanel } from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import { Act, Choices, choicesOf } from './choices';
import { openMenu } from './menu';
import { CellPlace, KEY } from './place';
import { Acts, pathOf } from './places';
import { Recent } from './recent';
import { askForWords } from './request';
import type { Sources } from './sources';
import { provenanceTitle } from './view';
import { writtenWords } from './words';

export const OUR_KERNEL = 'cellferry';
const MAGIC = '%%remote';
const RUN_ID = /^[\w.:-]+$/;

/** What the notebook's metadata names as the target of new remote cells. */
export function defaultWords(panel: NotebookPanel): string {
  const ours = panel.content.model?.getMetadata(KEY) as { default?: unknown } | undefined;
  return typeof ours?.default === 'string' ? ours.default : '';
}

export class CellActs implements Acts {
  constructor(
    private _sources: Sources,
    private _recent: Recent,
    private _trans: TranslationBundle
  ) {}

  /** Ask where these cells are to run, and write it; true if they were given a place. */
  async choose(panel: NotebookPanel, places: readonly CellPlace[], anchor: HTMLElement): Promise<boolean> {
    const act = await openMenu(this._choices(panel, places), anchor);
    return act !== null && this._do(act, panel, places);
  }

  /** Let these cells run there (`null`: here), as far as the kernel can be told so. */
  async send(panel: NotebookPanel, places: readonly CellPlace[], words: string | null): Promise<boolean> {
    const silent = places.filter(place => place.target.said !== 'line');
    let inText = false;
    if (words !== null && silent.length && deafKernel(panel) !== null) {
      const way = await this._howToTell(panel);
      if (way === null) {
        return false;
      }
      inText = way === 'text';
    }
    places.forEach(place => place.setWords(words, place.target.said === 'line' || inText));
    if (words) {
      this._recent.add(words);
    }
    return true;
  }

  /** Let the outputs of a run that nobody listened to appear in its own cell. */
  async attach(panel: NotebookPanel, place: CellPlace, run: string): Promise<void> {
    const kernel = panel.sessionContext.session?.kernel;
    if (!kernel || !RUN_ID.test(run)) {
      return;
    }
    const cell = place.cell;
    const content = {
      code: `%remote attach ${run}`,
      silent: false,
      store_history: false,
      stop_on_error: true,
      allow_stdin: true
    };
    const before = place.run;
    place.attaching(true);
    try {
      const future = kernel.requestExecute(content, false, { cellId: cell.model.id, deletedCells: [] });
      cell.outputArea.future = future;
      place.attached(before, (await future.done).content.status === 'ok');
    } catch {
      // the kernel ended meanwhile: the run goes on being offered
    } finally {
      place.attaching(false);
    }
  }

  private _choices(panel: NotebookPanel, places: readonly CellPlace[]): Choices {
    const path = pathOf(panel);
    const said = places.map(place => place.target.words);
    const used = panel.content.widgets
      .filter((cell): cell is CodeCell => cell instanceof CodeCell)
      .map(cell => writtenWords(cell.model.sharedModel.getSource(), cell.model.getMetadata(KEY)))
      .filter((words): words is string => !!words);
    const running = this._sources.workers.filter(
      worker =>
        (worker.state === 'ready' || worker.state === 'starting') &&
        (!worker.notebook || worker.notebook === path)
    );
    const offered = {
      words: said.every(words => words === said[0]) ? said[0] : undefined,
      default: defaultWords(panel),
      workers: running.map(worker => ({ ...worker, hardware: hardwareOf(worker) })),
      recent: [...this._recent.all, ...used],
      deafKernel: said.some((_, at) => places[at].target.said !== 'line') ? deafKernel(panel) : null,
      hasProvenance: places.length === 1 && places[0].provenance !== null
    };
    return choicesOf(offered, this._trans);
  }

  private async _do(act: Act, panel: NotebookPanel, places: readonly CellPlace[]): Promise<boolean> {
    switch (act.kind) {
      case 'run-at':
        return this.send(panel, places, act.words);
      case 'edit':
        return this._edit(act.words, panel, places);
      case 'switch-kernel':
        await this._howToTell(panel, false);
        return false;
      case 'provenance':
        await this._showProvenance(places[0]);
        return false;
    }
  }

  private async _edit(words: string, panel: NotebookPanel, places: readonly CellPlace[]): Promise<boolean> {
    const asked = await askForWords(words, this._sources, this._trans);
    if (asked === null) {
      return false;
    }
    const model = panel.content.model;
    if (asked.asDefault && model && asked.words !== defaultWords(panel)) {
      model.setMetadata(KEY, { ...(model.getMetadata(KEY) ?? {}), default: asked.words });
    }
    return this.send(panel, places, asked.words);
  }

  /** The kernel reads no settings of cells: change it, or write it into the text? `null`: neither. */
  private async _howToTell(panel: NotebookPanel, offerText = true): Promise<'kernel' | 'text' | null> {
    const trans = this._trans;
    const name = deafKernel(panel);
    if (name === null) {
      return 'kernel';
    }
    const specs = panel.sessionContext.specsManager.specs?.kernelspecs ?? {};
    const cancel = Dialog.cancelButton();
    const text = Dialog.okButton({ label: trans.__('Write %1 into the cell', MAGIC) });
    const change = Dialog.okButton({ label: trans.__('Change the kernel') });
    const buttons = [cancel, ...(offerText ? [text] : []), ...(OUR_KERNEL in specs ? [change] : [])];
    const body = [
      trans.__('“%1” runs every cell itself: it does not read where a cell is set to run.', name),
      OUR_KERNEL in specs
        ? trans.__(
            'Kernel “%1” does. Its variables are new: run the cells above again.',
            specs[OUR_KERNEL]!.display_name
          )
        : trans.__('Kernel “cellferry” does, but it is not installed where this server runs.'),
      offerText ? trans.__('A %1 line works in every kernel, after %2.', MAGIC, '%load_ext cellferry') : ''
    ];
    const result = await showDialog({
      title: trans.__('This kernel does not run cells elsewhere'),
      body: paragraphs(body.filter(Boolean)),
      buttons,
      defaultButton: buttons.length - 1
    });
    if (result.button.label === change.label) {
      await panel.sessionContext.changeKernel({ name: OUR_KERNEL });
      return 'kernel';
    }
    return result.button.label === text.label ? 'text' : null;
  }

  private async _showProvenance(place: CellPlace): Promise<void> {
    const kept = place.provenance;
    if (kept) {
      await showDialog({
        title: this._trans.__('How this output was made'),
        body: facts(provenanceTitle(kept, this._trans)),
        buttons: [Dialog.okButton({ label: this._trans.__('Close') })]
      });
    }
  }
}

/** The name of the notebook's kernel if it runs every cell itself; `null` if it obeys, or if there is none yet. */
export function deafKernel(panel: NotebookPanel): string | null {
  const context = panel.sessionContext;
  const name = context.session?.kernel?.name ?? context.kernelPreference.name ?? OUR_KERNEL;
  return name === OUR_KERNEL ? null : context.kernelDisplayName || name;
}

function hardwareOf(worker: {
  provider: string;
  instance?: string;
  gpu?: string;
  gpu_count?: number;
}): string {
  const count = worker.gpu_count && worker.gpu_count > 1 ? `${worker.gpu_count}× ` : '';
  return worker.gpu ? `${count}${worker.gpu}` : worker.instance || worker.provider;
}

function paragraphs(texts: readonly string[]): Widget {
  const node = document.createElement('div');
  texts.forEach(text => node.append(Object.assign(document.createElement('p'), { textContent: text })));
  return new Widget({ node });
}

function facts(text: string): Widget {
  const node = Object.assign(document.createElement('dl'), { className: 'cf-Facts' });
  text.split('\n').forEach(line => {
    const at = line.indexOf(': ');
    node.append(
      Object.assign(document.createElement('dt'), { textContent: line.slice(0, at) }),
      Object.assign(document.createElement('dd'), { textContent: line.slice(at + 2) })
    );
  });
  return new Widget({ node });
}
