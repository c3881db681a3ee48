/** Times that move by themselves: one clock for all of them, which writes text and renders nothing. */
import * as React from 'react';

/** Calls its listeners once a second while there are any and somebody looks. */
export class Ticker {
  subscribe(listener: (nowS: number) => void): () => void {
    this.listeners.add(listener);
    this.arrange();
    return () => {
      this.listeners.delete(listener);
      this.arrange();
    };
  }

  /** Whether somebody looks. */
  set running(value: boolean) {
    this._running = value;
    this.arrange();
  }

  private arrange(): void {
    const wanted = this._running && this.listeners.size > 0;
    if (wanted && !this.timer) {
      this.tick();
      this.timer = window.setInterval(() => this.tick(), 1000);
    } else if (!wanted && this.timer) {
      window.clearInterval(this.timer);
      this.timer = 0;
    }
  }

  private tick(): void {
    const nowS = Date.now() / 1000;
    this.listeners.forEach(listener => listener(nowS));
  }

  private _running = true;
  private timer = 0;
  private readonly listeners = new Set<(nowS: number) => void>();
}

export const TickerContext = React.createContext(new Ticker());

/** Text that depends on the time. */
export function Ticking(props: { text: (nowS: number) => string; className?: string }): JSX.Element {
  const ticker = React.useContext(TickerContext);
  const span = React.useRef<HTMLSpanElement>(null);
  const { text } = props;
  React.useEffect(() => {
    const write = (nowS: number) => {
      const value = text(nowS);
      if (span.current && span.current.textContent !== value) {
        span.current.textContent = value;
      }
    };
    write(Date.now() / 1000);
    return ticker.subscribe(write);
  }, [ticker, text]);
  return <span ref={span} className={props.className} />;
}
