/** The last 15 minutes of a worker, drawn. In a chunk of its own, which is loaded with the first plot. */
import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';

import { HISTORY_S, IHistory } from '../live';
import { ISample } from '../protocol';

import { size } from './format';
import { usePanel, useTrans } from './view';

const HEIGHT_PX = 56;

/** One plot: its lines, and how a value of it is told. */
export interface IPlot {
  name: string;
  title: string;
  lines: { label: string; value: (row: ISample) => number | null }[];
  tell: (value: number) => string;
  /** The top of the scale; null: as high as the values. */
  top: number | null;
}

const percent = (value: number) => `${Math.round(100 * value)} %`;
const rate = (value: number) => `${size(value)}/s`;

/** The plots that these rows have something for: those of the GPUs only where there are any. */
export function plotsOf(rows: readonly ISample[], trans: TranslationBundle): IPlot[] {
  const gpus = rows.length ? rows[rows.length - 1].gpus : [];
  const share = (used: number, total: number) => (total ? used / total : 0);
  const found: IPlot[] = [];
  if (gpus.length) {
    found.push(
      {
        name: 'gpu',
        title: trans.__('GPU'),
        lines: gpus.map((gpu, n) => ({ label: gpu.name, value: row => row.gpus[n]?.use ?? null })),
        tell: percent,
        top: 1
      },
      {
        name: 'gpu-memory',
        title: trans.__('GPU memory'),
        lines: gpus.map((gpu, n) => ({
          label: gpu.name,
          value: row => row.gpus[n]?.memory_used_bytes ?? null
        })),
        tell: size,
        top: Math.max(...gpus.map(gpu => gpu.memory_total_bytes))
      }
    );
  }
  found.push(
    {
      name: 'cpu',
      title: trans.__('CPU'),
      lines: [{ label: '', value: row => row.cpu }],
      tell: percent,
      top: 1
    },
    {
      name: 'memory',
      title: trans.__('Memory'),
      lines: [{ label: '', value: row => share(row.memory_used_bytes, row.memory_total_bytes) }],
      tell: percent,
      top: 1
    },
    {
      name: 'net',
      title: trans.__('Network'),
      lines: [
        { label: trans.__('in'), value: row => row.net_in_bytes_s },
        { label: trans.__('out'), value: row => row.net_out_bytes_s }
      ],
      tell: rate,
      top: null
    }
  );
  return found;
}

/** What a plot's head says of one row. */
export function toldOf(plot: IPlot, row: ISample | undefined): string {
  if (!row) {
    return '';
  }
  const values = plot.lines.map(line => line.value(row)).filter((value): value is number => value !== null);
  if (plot.name === 'net') {
    return values.length === 2 ? `↓ ${plot.tell(values[0])} ↑ ${plot.tell(values[1])}` : '';
  }
  const highest = values.slice(0, 4).map(plot.tell);
  return highest.join(' · ') + (values.length > 4 ? ' …' : '');
}

function coloursOf(node: HTMLElement): string[] {
  const style = getComputedStyle(node);
  return [
    '--jp-brand-color1',
    '--jp-warn-color1',
    '--jp-success-color1',
    '--jp-info-color1',
    '--jp-error-color1'
  ].map(name => style.getPropertyValue(name).trim());
}

function optionsOf(plot: IPlot, node: HTMLElement, onCursor: (index: number | null) => void): uPlot.Options {
  const colours = coloursOf(node);
  const grid = { stroke: getComputedStyle(node).getPropertyValue('--jp-border-color2').trim(), width: 1 };
  return {
    width: Math.max(40, node.clientWidth),
    height: HEIGHT_PX,
    padding: [2, 0, 2, 0],
    legend: { show: false },
    cursor: { y: false, points: { size: 5 }, drag: { x: false, y: false } },
    scales: {
      x: { time: true, range: (_, __, most) => [most - HISTORY_S, most] },
      y: { range: (_, __, most) => [0, plot.top ?? Math.max(most * 1.1, 1024)] }
    },
    axes: [
      { show: false },
      {
        show: true,
        size: 0,
        grid,
        ticks: { show: false },
        values: () => [],
        splits: (_, __, least, most) => [least, (least + most) / 2, most]
      }
    ],
    series: [
      {},
      ...plot.lines.map((line, n) => ({
        label: line.label,
        stroke: colours[n % colours.length],
        fill: plot.lines.length === 1 ? `color-mix(in srgb, ${colours[0]} 14%, transparent)` : undefined,
        width: 1.25,
        points: { show: false }
      }))
    ],
    hooks: { setCursor: [chart => onCursor(chart.cursor.idx ?? null)] }
  };
}

function dataOf(plot: IPlot, rows: readonly ISample[]): uPlot.AlignedData {
  return [rows.map(row => row.at_unix_s), ...plot.lines.map(line => rows.map(row => line.value(row)))];
}

function Plot(props: { plot: IPlot; rows: readonly ISample[] }): JSX.Element {
  const { plot, rows } = props;
  const { theme } = usePanel();
  const trans = useTrans();
  const place = React.useRef<HTMLDivElement>(null);
  const chart = React.useRef<uPlot | null>(null);
  const [at, setAt] = React.useState<number | null>(null);
  const shape = `${plot.name} ${plot.lines.length} ${plot.top} ${theme}`;
  const latest = React.useRef(rows);
  latest.current = rows;
  React.useEffect(() => {
    const node = place.current!;
    let made: uPlot | null = null;
    const draw = () => {
      made = new uPlot(optionsOf(plot, node, setAt), dataOf(plot, latest.current), node);
      chart.current = made;
      observer.observe(node);
    };
    const observer = new ResizeObserver(() => {
      if (node.clientWidth) {
        made?.setSize({ width: node.clientWidth, height: HEIGHT_PX });
      }
    });
    // each in a task of its own: a click that opens many of them is answered first
    const waiting = window.setTimeout(draw);
    return () => {
      window.clearTimeout(waiting);
      observer.disconnect();
      made?.destroy();
      chart.current = null;
    };
    // colours are taken when it is made, so a new theme makes a new one
  }, [shape]);
  React.useEffect(() => chart.current?.setData(dataOf(plot, rows)), [rows]);
  const now = toldOf(plot, rows[rows.length - 1]);
  return (
    <div className={`cf-plot cf-mod-${plot.name}`}>
      <div className="cf-line">
        <span className="cf-grow">{plot.title}</span>
        <span className="cf-number cf-quiet">{at === null ? now : toldOf(plot, rows[at]) || now}</span>
      </div>
      <div
        ref={place}
        className="cf-plot-place"
        role="img"
        aria-label={trans.__('%1 over the last 15 minutes, now %2', plot.title, now)}
      />
    </div>
  );
}

/** Every plot of one worker. */
export default function Plots(props: { history: IHistory }): JSX.Element {
  const trans = useTrans();
  const { rows } = props.history;
  return (
    <div className="cf-plots">
      {plotsOf(rows, trans).map(plot => (
        <Plot key={plot.name} plot={plot} rows={rows} />
      ))}
    </div>
  );
}
