/** The dialog in which the words of a request are written, and checked before they are taken. */
import { Dialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import type { ICheck, IWord } from '../protocol';

import type { Sources } from './sources';
import { completions } from './words';

const TYPED_MS = 300;

export interface Asked {
  readonly words: string;
  readonly asDefault: boolean;
}

class RequestForm extends Widget implements Dialog.IBodyWidget<Asked> {
  constructor(words: string, trans: TranslationBundle) {
    super();
    this.addClass('cf-Request');
    const label = document.createElement('label');
    label.htmlFor = this.field.id = 'cf-request-words';
    label.textContent = trans.__('What stands after %1', '%%remote');
    this.field.type = 'text';
    this.field.className = 'jp-mod-styled';
    this.field.value = words;
    this.field.placeholder = 'gpu=a100 budget=5';
    this.field.spellcheck = false;
    this.field.autocomplete = 'off';
    this.field.setAttribute('aria-describedby', 'cf-request-told');
    this.field.setAttribute('list', (this._offered.id = 'cf-request-offered'));
    this.field.addEventListener('input', () => this.offer());
    this.told.id = 'cf-request-told';
    this.told.className = 'cf-Request-told';
    this.told.setAttribute('role', 'status');
    const row = document.createElement('label');
    row.className = 'cf-Request-default';
    this.asDefault.type = 'checkbox';
    row.append(this.asDefault, document.createTextNode(trans.__('Use it as this notebook’s default')));
    this.node.append(label, this.field, this._offered, this.told, row);
  }

  getValue(): Asked {
    return { words: this.field.value.trim(), asDefault: this.asDefault.checked };
  }

  tell(check: ICheck | null): void {
    const wrong = check !== null && !check.ok;
    this.told.textContent = wrong ? [check.message, check.advice].filter(Boolean).join(' ') : '';
    this.field.setAttribute('aria-invalid', String(wrong));
  }

  /** What the word that is being written may become, below the field; of these words, once they are known. */
  offer(known: readonly IWord[] = this._known): void {
    this._known = known;
    this._offered.replaceChildren(
      ...completions(this.field.value, known).map(({ value, label }) => {
        const option = document.createElement('option');
        option.value = value;
        option.label = label;
        return option;
      })
    );
  }

  readonly field = document.createElement('input');
  readonly told = document.createElement('div');
  readonly asDefault = document.createElement('input');
  private readonly _offered = document.createElement('datalist');
  private _known: readonly IWord[] = [];
}

class RequestDialog extends Dialog<Asked> {
  constructor(
    private _form: RequestForm,
    private _sources: Sources,
    trans: TranslationBundle
  ) {
    super({
      title: trans.__('Where is this to run?'),
      body: _form,
      buttons: [Dialog.cancelButton(), Dialog.okButton({ label: trans.__('Use it') })],
      focusNodeSelector: 'input[type=text]'
    });
    // without a server to ask nothing is offered
    void _sources.known().then(
      known => _form.offer(known),
      () => undefined
    );
    _form.field.addEventListener('input', () => {
      window.clearTimeout(this._typing);
      this._typing = window.setTimeout(() => void this._look(), TYPED_MS);
    });
  }

  /** The words are only taken when they are right; until then the dialog stays. */
  override resolve(index?: number): void {
    if (index === 0) {
      super.resolve(index);
      return;
    }
    window.clearTimeout(this._typing);
    void this._look().then(ok => {
      if (ok && !this.isDisposed) {
        super.resolve(index);
      }
    });
  }

  private async _look(): Promise<boolean> {
    const words = this._form.getValue().words;
    let check: ICheck | null = null;
    try {
      check = await this._sources.check(words);
    } catch {
      // no server to ask: the kernel will say what is wrong
    }
    if (words === this._form.getValue().words) {
      this._form.tell(check);
    }
    return check?.ok ?? true;
  }

  private _typing = 0;
}

/** Ask for the words; `null` if the user did not want to. */
export async function askForWords(
  words: string,
  sources: Sources,
  trans: TranslationBundle
): Promise<Asked | null> {
  const dialog = new RequestDialog(new RequestForm(words, trans), sources, trans);
  const result = await dialog.launch();
  return result.button.accept ? result.value : null;
}
