import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A message of the DevTools protocol. */
interface Message {
  readonly id?: number;
  readonly result?: unknown;
  readonly error?: { readonly message: string };
}

/** A page in a headless Chromium that talks over a pipe: no port is opened. */
export class BrowserPage {
  readonly #child: ChildProcess;
  readonly #profile: string;
  readonly #waiting = new Map<number, (message: Message) => void>();
  #count = 0;
  #session = '';

  private constructor(child: ChildProcess, profile: string) {
    this.#child = child;
    this.#profile = profile;
    let text = '';
    (child.stdio[4] as NodeJS.ReadableStream).on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const messages = text.split('\0');
      text = messages.pop() as string;
      for (const each of messages) {
        const message = JSON.parse(each) as Message;
        this.#waiting.get(message.id ?? -1)?.(message);
      }
    });
  }

  static async open(
    url: string,
    size: { readonly width: number; readonly height: number },
  ): Promise<BrowserPage> {
    const profile = mkdtempSync(join(tmpdir(), 'guardian-browser-'));
    const child = spawn(
      'chromium',
      [
        ...[
          '--headless',
          '--no-sandbox',
          '--disable-gpu',
          '--disable-quic',
          '--no-first-run',
          '--disable-sync',
        ],
        ...['--disable-background-networking', '--disable-component-update', '--disable-dev-shm-usage'],
        ...['--remote-debugging-pipe', `--user-data-dir=${profile}`, 'about:blank'],
      ],
      { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'], env: { ...process.env, HOME: profile } },
    );
    const page = new BrowserPage(child, profile);
    const { targetId } = (await page.send('Target.createTarget', { url: 'about:blank' })) as {
      targetId: string;
    };
    const attached = (await page.send('Target.attachToTarget', { targetId, flatten: true })) as {
      sessionId: string;
    };
    page.#session = attached.sessionId;
    const metrics = { ...size, deviceScaleFactor: 1, mobile: false };
    await page.send('Emulation.setDeviceMetricsOverride', metrics);
    await page.send('Emulation.setScrollbarsHidden', { hidden: true });
    await page.send('Page.navigate', { url });
    await page.until("document.readyState === 'complete' && location.href !== 'about:blank'");
    return page;
  }

  /** One command of the protocol. */
  async send(method: string, params: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    const id = ++this.#count;
    const session = this.#session === '' ? {} : { sessionId: this.#session };
    (this.#child.stdio[3] as NodeJS.WritableStream).write(
      `${JSON.stringify({ id, method, params, ...session })}\0`,
    );
    const message = await new Promise<Message>((resolve) => this.#waiting.set(id, resolve));
    this.#waiting.delete(id);
    if (message.error !== undefined) throw new Error(`${method}: ${message.error.message}`);
    return message.result;
  }

  /** The value of an expression in the page. */
  async evaluate(expression: string): Promise<unknown> {
    const { result } = (await this.send('Runtime.evaluate', { expression, awaitPromise: true })) as {
      result: { value?: unknown };
    };
    return result.value;
  }

  /** Resolves when the page has drawn frames until the expression held; rejects after 600 of them. */
  async until(expression: string): Promise<void> {
    for (let i = 0; i < 600; i++) {
      if ((await this.evaluate(expression)) === true) return;
      await this.evaluate('new Promise((resolve) => setTimeout(resolve, 25))');
    }
    throw new Error(`the page never came to ${expression}`);
  }

  /** A PNG of what is in view. */
  async picture(): Promise<Buffer> {
    const { data } = (await this.send('Page.captureScreenshot', { format: 'png' })) as { data: string };
    return Buffer.from(data, 'base64');
  }

  async close(): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
