/** Section Doctor: what is not configured yet, and the command that does it. */
import { checkIcon, errorIcon, refreshIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { IDoctorCheck } from '../protocol';

import { IProblem } from './model';
import { Advice, Command, IconButton, Section, usePanel, useTrans } from './view';

/** The commands in a piece of advice: what stands between backticks. */
export function commandsIn(advice: string): string[] {
  return [...advice.matchAll(/`([^`]+)`/g)].map(found => found[1]);
}

function Check(props: { check: IDoctorCheck }): JSX.Element {
  const trans = useTrans();
  const { ok, name, found, advice } = props.check;
  const Icon = ok ? checkIcon : errorIcon;
  const commands = commandsIn(advice);
  return (
    <li className={ok ? 'cf-check' : 'cf-check cf-mod-wrong'}>
      <Icon.react tag="span" className="cf-check-icon" />
      <div className="cf-grow">
        <div>
          <span className="cf-hidden">{ok ? trans.__('In order:') : trans.__('To be done:')} </span>
          {name}
        </div>
        <div className="cf-quiet">{found}</div>
        {!ok && advice && !commands.length ? <Command text={advice} /> : null}
        {!ok && commands.length ? <Advice text={advice} /> : null}
        {ok ? null : commands.map(command => <Command key={command} text={command} />)}
      </div>
    </li>
  );
}

function Checks(props: { asked: number }): JSX.Element {
  const { model } = usePanel();
  const trans = useTrans();
  const [checks, setChecks] = React.useState<IDoctorCheck[] | null>(null);
  const [problem, setProblem] = React.useState<IProblem | null>(null);
  React.useEffect(() => {
    let wanted = true;
    setChecks(null);
    model.doctor().then(
      told => wanted && (setChecks(told), setProblem(null)),
      error => wanted && (setChecks([]), setProblem(model.problemOf(error)))
    );
    return () => {
      wanted = false;
    };
  }, [model, props.asked]);
  if (checks === null) {
    return <p className="cf-quiet">{trans.__('Looking…')}</p>;
  }
  if (problem) {
    return <p className="cf-quiet">{problem.message}</p>;
  }
  // what is to be done stands first
  const sorted = [...checks].sort((a, b) => Number(a.ok) - Number(b.ok));
  return (
    <ul className="cf-plain">
      {sorted.map(check => (
        <Check key={check.name} check={check} />
      ))}
    </ul>
  );
}

export function Doctor(): JSX.Element {
  const trans = useTrans();
  const [asked, setAsked] = React.useState(0);
  const again = (
    <IconButton icon={refreshIcon} label={trans.__('Look again')} onClick={() => setAsked(asked + 1)} />
  );
  return (
    <Section name="doctor" title={trans.__('Doctor')} action={again}>
      <Checks asked={asked} />
    </Section>
  );
}
