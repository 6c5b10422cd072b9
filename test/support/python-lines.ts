import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** A Python script that answers each line of JSON with one: what it imports is imported once. */
export class PythonLines {
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  #errors = '';

  constructor(python: string, script: string) {
    this.#child = spawn(python, [script], { stdio: 'pipe' });
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.#errors += chunk;
    });
    const { stdout } = this.#child;
    if (stdout === null) throw new Error('expected a pipe');
    this.#answers = createInterface({ input: stdout })[Symbol.asyncIterator]();
  }

  /** One question at a time. Rejects where the script ends instead. */
  async ask(question: unknown): Promise<unknown> {
    this.#child.stdin?.write(`${JSON.stringify(question)}\n`);
    const { done, value } = await this.#answers.next();
    if (done === true) throw new Error(`the script ended: ${this.#errors}`);
    return JSON.parse(value);
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.stdin?.end();
    await ended;
  }
}
