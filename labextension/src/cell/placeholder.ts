/** A value that stayed on a worker, as an output: what it is, and a button that brings it here. */
import { CodeCell } from '@jupyterlab/cells';
import type { IOutput } from '@jupyterlab/nbformat';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import type { Kernel, KernelMessage } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import { MIME, readTold } from './told';
import { placeholderText } from './view';

interface Found {
  readonly panel: NotebookPanel;
  readonly cell: CodeCell;
  readonly kernel: Kernel.IKernelConnection;
}

/** Draws outputs of this kind. */
export class RenderedPlaceholder extends Widget implements IRenderMime.IRenderer {
  constructor(
    private _tracker: INotebookTracker,
    private _trans: TranslationBundle
  ) {
    super();
    this.addClass('cf-Placeholder');
    this._button.type = 'button';
    this._button.className = 'jp-mod-styled cf-Placeholder-bring';
    this._button.textContent = _trans.__('Bring it here');
    this._button.addEventListener('click', () => void this._bring());
    this._news.setAttribute('role', 'status');
    this.node.append(this._text, this._button, this._news);
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const trans = this._trans;
    const told = (this._told = readTold(model.data[MIME]));
    this._model = model;
    const stays = told.name
      ? trans.__(
          'stays on worker %1 until a local cell names it: %2',
          told.worker,
          placeholderText(told, trans)
        )
      : trans.__('stays on worker %1: %2', told.worker, placeholderText(told, trans));
    this._text.textContent = told.reason ? trans.__('%1; %2', stays, told.reason) : stays;
    this._button.hidden = !told.name || !!told.reason;
    this._button.setAttribute('aria-label', trans.__('Bring %1 here', told.name));
  }

  private async _bring(): Promise<void> {
    const found = this._find();
    if (!found) {
      this._news.textContent = this._trans.__('This needs a notebook with a running kernel.');
      return;
    }
    this._button.disabled = true;
    this._news.textContent = this._trans.__('on its way…');
    try {
      this._arrived(found.cell, await this._fetch(found.kernel));
    } catch {
      this._news.textContent = this._trans.__('The kernel ended before it came.');
    } finally {
      this._button.disabled = false;
    }
  }

  private async _fetch(kernel: Kernel.IKernelConnection): Promise<KernelMessage.IExecuteReplyMsg['content']> {
    const name = this._told.name;
    const future = kernel.requestExecute({
      code: `%remote fetch ${name}`,
      silent: true,
      store_history: false,
      allow_stdin: false,
      user_expressions: { value: name }
    });
    future.onIOPub = message => {
      const shown = message.content as { data?: { 'text/plain'?: unknown } };
      const text = shown.data?.['text/plain'];
      if (typeof text === 'string' && text) {
        this._news.textContent = text; // how far it is
      }
    };
    return (await future.done).content as KernelMessage.IExecuteReplyMsg['content'];
  }

  private _arrived(cell: CodeCell, reply: KernelMessage.IExecuteReplyMsg['content']): void {
    if (reply.status !== 'ok') {
      this._news.textContent =
        reply.status === 'error' ? reply.evalue : this._trans.__('It was stopped before it came.');
      return;
    }
    const value = reply.user_expressions.value as { data?: object; metadata?: object } | undefined;
    const outputs = cell.outputArea.model;
    for (let at = 0; at < outputs.length; at++) {
      const output = outputs.get(at);
      if ((output as unknown) === this._model || output.data[MIME] === this._model?.data[MIME]) {
        const data = value?.data ?? { 'text/plain': this._trans.__('%1 is here now', this._told.name) };
        outputs.set(at, { output_type: 'display_data', data, metadata: value?.metadata ?? {} } as IOutput);
        return;
      }
    }
    this._news.textContent = this._trans.__('%1 is here now', this._told.name);
    this._button.hidden = true;
  }

  private _find(): Found | null {
    const panel = this._tracker.find(one => one.content.node.contains(this.node));
    const kernel = panel?.sessionContext.session?.kernel;
    const cell = panel?.content.widgets.find(one => one.node.contains(this.node));
    return panel && kernel && cell instanceof CodeCell ? { panel, cell, kernel } : null;
  }

  private _told = readTold(null);
  private _model: IRenderMime.IMimeModel | null = null;
  private readonly _text = document.createElement('span');
  private readonly _button = document.createElement('button');
  private readonly _news = Object.assign(document.createElement('span'), {
    className: 'cf-Placeholder-news'
  });
}
