/** A long list of equally high rows, of which only those are in the page that can be seen. */
import * as React from 'react';

const EXTRA_ROWS = 4;

/** First and last (exclusive) row to draw, for a place scrolled to. */
export function visible(top: number, height: number, rowHeight: number, count: number): [number, number] {
  const first = Math.max(0, Math.floor(top / rowHeight) - EXTRA_ROWS);
  return [Math.min(first, count), Math.min(count, Math.ceil((top + height) / rowHeight) + EXTRA_ROWS)];
}

/** Where the active row is after a key, or null where the key moves nothing. */
export function moved(key: string, active: number, count: number, page: number): number | null {
  const to: Record<string, number> = {
    ArrowDown: active + 1,
    ArrowUp: active - 1,
    PageDown: active + page,
    PageUp: active - page,
    Home: 0,
    End: count - 1
  };
  return key in to && count ? Math.max(0, Math.min(count - 1, to[key])) : null;
}

export interface IWindowedProps<T> {
  items: readonly T[];
  keyOf: (item: T) => string;
  rowHeight: number;
  mostHeight: number;
  label: string;
  /** `listbox`: the list has the focus and one row is active; `list`: the first button of a row has the focus. */
  role: 'listbox' | 'list';
  active: number;
  onActive: (index: number) => void;
  onKey?: (event: React.KeyboardEvent, index: number) => void;
  row: (item: T, index: number, active: boolean) => React.ReactNode;
}

let lists = 0;

/** See `IWindowedProps`. */
export function Windowed<T>(props: IWindowedProps<T>): JSX.Element {
  const { items, rowHeight, mostHeight, role, active, onActive } = props;
  const box = React.useRef<HTMLDivElement>(null);
  const [top, setTop] = React.useState(0);
  const [name] = React.useState(() => `cf-list-${lists++}`);
  const height = Math.min(mostHeight, items.length * rowHeight);
  const [first, last] = visible(top, height, rowHeight, items.length);
  const wantsFocus = React.useRef(false);

  const show = React.useCallback(
    (index: number) => {
      const node = box.current;
      if (node && index * rowHeight < node.scrollTop) {
        node.scrollTop = index * rowHeight;
      } else if (node && (index + 1) * rowHeight > node.scrollTop + height) {
        node.scrollTop = (index + 1) * rowHeight - height;
      }
    },
    [rowHeight, height]
  );
  React.useLayoutEffect(() => {
    if (wantsFocus.current) {
      const button = box.current?.querySelector<HTMLElement>(`[data-row="${active}"] button`);
      if (button) {
        wantsFocus.current = false;
        button.focus({ preventScroll: true });
      }
    }
  });
  const onKeyDown = (event: React.KeyboardEvent) => {
    const to = moved(event.key, active, items.length, Math.max(1, Math.floor(height / rowHeight)));
    if (to !== null) {
      event.preventDefault();
      wantsFocus.current = role === 'list';
      onActive(to);
      show(to);
      setTop(box.current?.scrollTop ?? top);
    } else {
      props.onKey?.(event, active);
    }
  };
  const rows = items.slice(first, last).map((item, n) => {
    const index = first + n;
    return (
      <div
        key={props.keyOf(item)}
        id={`${name}-${index}`}
        data-row={index}
        role={role === 'listbox' ? 'option' : 'listitem'}
        aria-selected={role === 'listbox' ? index === active : undefined}
        aria-setsize={items.length}
        aria-posinset={index + 1}
        className="cf-row"
        style={{ top: index * rowHeight, height: rowHeight }}
        onMouseDown={() => onActive(index)}
      >
        {props.row(item, index, index === active)}
      </div>
    );
  });
  const isBox = role === 'listbox';
  return (
    <div
      ref={box}
      className="cf-list"
      style={{ height }}
      onScroll={event => setTop(event.currentTarget.scrollTop)}
      onKeyDown={onKeyDown}
      tabIndex={isBox ? 0 : undefined}
      role={role}
      aria-label={props.label}
      aria-activedescendant={isBox && active >= first && active < last ? `${name}-${active}` : undefined}
    >
      <div role="presentation" style={{ height: items.length * rowHeight }}>
        {rows}
      </div>
    </div>
  );
}
