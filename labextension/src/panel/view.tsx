/** What every section of the panel is made of. */
import { Clipboard } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';
import { caretDownIcon, caretRightIcon, checkIcon, copyIcon, LabIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { ILiveState } from '../live';

import { IActions } from './actions';
import { IPanelState, PanelModel } from './model';

/** What the sections are given: what is known, and what can be done in JupyterLab. */
export interface IPanelContext {
  model: PanelModel;
  actions: IActions;
  /** Which sections are folded; remembered by JupyterLab. */
  folded: ReadonlySet<string>;
  fold: (section: string, folded: boolean) => void;
  /** Counts up with each change of the theme. */
  theme: number;
  /** What the user chose in the settings. */
  plots: boolean;
  /** Have the form ask for this; counts as typed by the user. */
  form: { words: string; asked: number };
  setForm: (words: string) => void;
}

export const PanelContext = React.createContext<IPanelContext>(null as unknown as IPanelContext);

export function usePanel(): IPanelContext {
  return React.useContext(PanelContext);
}

export function useTrans(): TranslationBundle {
  return usePanel().model.trans;
}

/** One part of what is pushed; renders again only when that part is another. */
export function useLive<T>(select: (state: ILiveState) => T): T {
  const { live } = usePanel().model;
  const subscribe = React.useCallback(
    (listener: () => void) => {
      live.changed.connect(listener);
      return () => void live.changed.disconnect(listener);
    },
    [live]
  );
  return React.useSyncExternalStore(subscribe, () => select(live.state));
}

/** One part of what the panel knows beside that. */
export function useModel<T>(select: (state: IPanelState) => T): T {
  const { model } = usePanel();
  const subscribe = React.useCallback(
    (listener: () => void) => {
      model.changed.connect(listener);
      return () => void model.changed.disconnect(listener);
    },
    [model]
  );
  return React.useSyncExternalStore(subscribe, () => select(model.state));
}

/** A part of the panel that can be folded. */
export function Section(props: {
  name: string;
  title: string;
  count?: number;
  action?: React.ReactNode;
  children: React.ReactNode;
}): JSX.Element {
  const { folded, fold } = usePanel();
  const open = !folded.has(props.name);
  const Caret = open ? caretDownIcon : caretRightIcon;
  return (
    <section className="cf-section" aria-labelledby={`cf-title-${props.name}`}>
      <div className="cf-section-head">
        <h3 id={`cf-title-${props.name}`}>
          <button
            className="cf-fold"
            aria-expanded={open}
            aria-controls={`cf-body-${props.name}`}
            onClick={() => fold(props.name, open)}
          >
            <Caret.react tag="span" className="cf-caret" />
            {props.title}
            {props.count ? <span className="cf-count">{props.count}</span> : null}
          </button>
        </h3>
        {open ? props.action : null}
      </div>
      <div id={`cf-body-${props.name}`} className="cf-section-body" hidden={!open}>
        {open ? props.children : null}
      </div>
    </section>
  );
}

/** A button with a picture alone: its label is said and shown as a tip. */
export function IconButton(props: {
  icon: LabIcon;
  label: string;
  onClick: () => void;
  disabled?: boolean;
  tabIndex?: number;
}): JSX.Element {
  return (
    <button
      className="cf-icon-button"
      aria-label={props.label}
      title={props.label}
      disabled={props.disabled}
      tabIndex={props.tabIndex}
      onClick={event => {
        event.stopPropagation();
        props.onClick();
      }}
    >
      <props.icon.react tag="span" />
    </button>
  );
}

/** A command as it is to be typed, with a button that copies it. */
export function Command(props: { text: string }): JSX.Element {
  const trans = useTrans();
  const [copied, setCopied] = React.useState(false);
  return (
    <div className="cf-command">
      <code>{props.text}</code>
      <IconButton
        icon={copied ? checkIcon : copyIcon}
        label={copied ? trans.__('Copied') : trans.__('Copy')}
        onClick={() => {
          Clipboard.copyToSystem(props.text);
          setCopied(true);
        }}
      />
    </div>
  );
}

/** Advice as the server says it: prose, with what stands between backticks as commands that can be copied. */
export function Advice(props: { text: string }): JSX.Element {
  const parts = props.text.split(/`([^`]+)`/);
  return <p className="cf-advice">{parts.map((part, n) => (n % 2 ? <code key={n}>{part}</code> : part))}</p>;
}
