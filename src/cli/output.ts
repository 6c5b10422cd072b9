import type { Writable } from 'node:stream';
import { styleText } from 'node:util';

type Style = Parameters<typeof styleText>[0];

export interface OutputOptions {
  readonly json: boolean;
  readonly stdout: Writable;
  readonly stderr: Writable;
}

/** Milliseconds between two drawings of a progress bar, and before the first. */
const REDRAW_MS = 100;
const FIRST_DRAW_MS = 700;
const BAR_WIDTH = 28;

/**
 * What a command says: text for people or one JSON object a line on stdout, progress and notes on stderr.
 * Colours and bars only where the stream is a terminal.
 */
export class Output {
  readonly json: boolean;
  readonly #stdout: Writable;
  readonly #stderr: Writable;
  #barShown = false;

  constructor(options: OutputOptions) {
    this.json = options.json;
    this.#stdout = options.stdout;
    this.#stderr = options.stderr;
  }

  /** A line for people; nothing with `--json`. */
  line(text = ''): void {
    if (this.json) return;
    this.#clearBar();
    this.#stdout.write(`${text}\n`);
  }

  /** A line for scripts; nothing without `--json`. The last one is the command's result. */
  object(value: object): void {
    if (!this.json) return;
    this.#clearBar();
    this.#stdout.write(`${JSON.stringify(value)}\n`);
  }

  /** Text as it is, in both modes: for commands whose output is a file format. */
  raw(text: string): void {
    this.#clearBar();
    this.#stdout.write(text);
  }

  /** A note on stderr, in both modes. */
  note(text: string): void {
    this.#clearBar();
    this.#stderr.write(`${text}\n`);
  }

  style(style: Style, text: string): string {
    return isTerminal(this.#stdout) ? styleText(style, text, { validateStream: false }) : text;
  }

  /** A progress bar on stderr, on a terminal, for what takes longer than a moment. */
  progress(label: string): Progress {
    const start = performance.now();
    let last = start + FIRST_DRAW_MS - REDRAW_MS;
    return {
      update: (share, detail = '') => {
        const now = performance.now();
        if (!isTerminal(this.#stderr) || now - last < REDRAW_MS) return;
        last = now;
        this.#drawBar(label, share, detail, now - start);
      },
      done: () => this.#clearBar(),
    };
  }

  #drawBar(label: string, share: number | undefined, detail: string, elapsedMs: number): void {
    const seconds = `${(elapsedMs / 1000).toFixed(0)} s`;
    const filled = Math.round(BAR_WIDTH * Math.min(1, Math.max(0, share ?? 0)));
    const bar = share === undefined ? '' : `[${'='.repeat(filled).padEnd(BAR_WIDTH, ' ')}] `;
    this.#stderr.write(`\r\u001b[2K${label} ${bar}${detail} ${seconds}`);
    this.#barShown = true;
  }

  #clearBar(): void {
    if (!this.#barShown) return;
    this.#stderr.write('\r\u001b[2K');
    this.#barShown = false;
  }
}

export interface Progress {
  /** `share` in [0, 1], or undefined where the end is not known. */
  update(share: number | undefined, detail?: string): void;
  done(): void;
}

function isTerminal(stream: Writable): boolean {
  return 'isTTY' in stream && stream.isTTY === true && process.env.NO_COLOR === undefined;
}
