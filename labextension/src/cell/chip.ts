/** What stands at a cell: the chip in its toolbar, and the line between its text and its outputs. */
import type { TranslationBundle } from '@jupyterlab/translation';
import { Message } from '@lumino/messaging';
import { ISignal } from '@lumino/signaling';
import { Widget } from '@lumino/widgets';

import { View } from './view';

/** What a widget at a cell needs of it. */
export interface Place {
  readonly view: View;
  readonly changed: ISignal<Place, void>;
  /** Ask where the cell is to run; the answer opens at this element. */
  choose(anchor: HTMLElement): void;
  attach(run: string): Promise<void>;
}

function setText(node: HTMLElement, text: string, title: string): void {
  if (node.textContent !== text) {
    node.textContent = text;
  }
  if (node.title !== title) {
    node.title = title;
  }
}

function button(className: string): HTMLButtonElement {
  const node = document.createElement('button');
  node.type = 'button';
  node.className = className;
  return node;
}

abstract class AtCell extends Widget {
  constructor(
    protected place: Place,
    protected trans: TranslationBundle
  ) {
    super();
    this.badge.setAttribute('aria-haspopup', 'menu');
    this.badge.addEventListener('click', () => this.place.choose(this.badge));
    this.place.changed.connect(this.show_, this);
  }

  protected readonly badge = button('cf-Badge');

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this.show_();
  }

  protected textOf(view: View): string {
    return view.badge;
  }

  protected show_(): void {
    const view = this.place.view;
    setText(this.badge, this.textOf(view), view.badgeTitle);
    this.badge.setAttribute('aria-label', this.trans.__('Where this cell runs: %1', view.badge));
    this.badge.classList.toggle('cf-mod-remote', view.remote);
  }
}

/** In the toolbar of the active cell: where it runs; a click changes that. */
export class Chip extends AtCell {
  constructor(place: Place, trans: TranslationBundle) {
    super(place, trans);
    this.addClass('cf-Chip');
    this.node.append(this.badge);
  }

  protected override textOf(view: View): string {
    return view.chip;
  }
}

/** Below a cell's text, if it is remote or was: where, what goes on there, and how its outputs were made. */
export class Line extends AtCell {
  constructor(place: Place, trans: TranslationBundle) {
    super(place, trans);
    this.addClass('cf-Line');
    this.node.setAttribute('role', 'group');
    this.node.setAttribute('aria-label', trans.__('Where this cell runs'));
    this._attach.addEventListener('click', () => void this._attachNow());
    this.node.append(this.badge, this._status, this._attach);
    this.show_();
  }

  protected override show_(): void {
    super.show_();
    const view = this.place.view;
    setText(this._status, view.status, view.statusTitle);
    this.node.dataset.tone = view.tone;
    this.badge.hidden = !view.remote;
    this._attach.hidden = view.attach === null;
    if (view.attach) {
      setText(this._attach, view.attach.label, '');
    }
    this.setHidden(!view.remote && !view.status);
  }

  private async _attachNow(): Promise<void> {
    const run = this.place.view.attach?.run;
    if (run) {
      this._attach.disabled = true;
      try {
        await this.place.attach(run);
      } finally {
        this._attach.disabled = false;
      }
    }
  }

  private readonly _status = Object.assign(document.createElement('span'), { className: 'cf-Status' });
  private readonly _attach = button('cf-Attach');
}
