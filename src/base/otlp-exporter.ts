import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { z } from 'zod';
import type { Clock } from './clock.ts';
import { BaseError } from './errors.ts';
import type { Logger } from './logger.ts';
import type { Metrics } from './metrics.ts';
import { otlpRequest } from './otlp-request.ts';
import type { Milliseconds } from './units.ts';

/** The section `metrics.otlp` of the configuration. */
export const otlpConfigSchema = z.strictObject({
  url: z
    .url({ protocol: /^https?$/ })
    .max(2_048)
    .refine((text) => !URL.canParse(text) || new URL(text).password === '', 'expected no credentials')
    .nullable()
    .default(null)
    .describe('of an OTLP/HTTP receiver, such as http://127.0.0.1:4318/v1/metrics; null sends nothing'),
  headersFile: z
    .string()
    .min(1)
    .max(4_096)
    .nullable()
    .default(null)
    .describe('`Name: value` a line, for its credentials; read anew each time'),
  intervalMs: z.number().int().min(1_000).max(3_600_000).default(60_000),
});

export type OtlpConfig = z.output<typeof otlpConfigSchema>;

export interface OtlpExporterOptions {
  readonly config: OtlpConfig & { readonly url: string };
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly version: string;
}

/** Until a receiver must have answered; what comes after it is sent with the next numbers, which hold these. */
const ANSWER_MS: Milliseconds = 10_000;

/** Sends all metrics to an OTLP receiver at intervals. One that fails is counted and logged, and holds up nothing. */
export class OtlpExporter {
  readonly #options: OtlpExporterOptions;
  readonly #startMs: Milliseconds;
  readonly #timer: NodeJS.Timeout;
  #sending: Promise<void> | undefined;
  #failures = 0;

  constructor(options: OtlpExporterOptions) {
    this.#options = options;
    this.#startMs = options.clock.now();
    options.metrics.gauge(
      'otlp_failures',
      'Exports of metrics that failed since the start.',
      () => this.#failures,
    );
    this.#timer = setInterval(() => void this.flush(), options.config.intervalMs).unref();
  }

  /** Sends now, or waits for what is being sent. Never rejects. */
  flush(): Promise<void> {
    this.#sending ??= this.#send()
      .catch((error: unknown) => {
        this.#failures++;
        const code = error instanceof BaseError ? error.code : 'base.export-failed';
        this.#options.logger.warn({ code }, 'metrics could not be exported');
      })
      .finally(() => {
        this.#sending = undefined;
      });
    return this.#sending;
  }

  /** Sends the last numbers. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.flush();
  }

  async #send(): Promise<void> {
    const { config, metrics, clock, version } = this.#options;
    const resource = {
      'service.name': 'ai-guardian',
      'service.version': version,
      'service.instance.id': `${hostname()}:${process.pid}`,
    };
    const times = { startMs: this.#startMs, nowMs: clock.now() };
    const response = await fetch(config.url, {
      method: 'POST',
      headers: { ...(await readHeaders(config.headersFile)), 'content-type': 'application/json' },
      body: JSON.stringify(otlpRequest(await metrics.families(), { ...times, resource, version })),
      redirect: 'error',
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    const answer = await response.text();
    if (!response.ok || rejectedPoints(answer) > 0) {
      throw new BaseError('base.export-failed', `the receiver of metrics answered ${response.status}`);
    }
  }
}

async function readHeaders(path: string | null): Promise<Record<string, string>> {
  if (path === null) return {};
  const lines = (await readFile(path, 'utf8')).split('\n').filter((line) => line.trim() !== '');
  return Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, Math.max(colon, 0)).trim(), line.slice(colon + 1).trim()];
    }),
  );
}

/** A receiver may take a request and leave out a part of it. */
function rejectedPoints(answer: string): number {
  try {
    const { partialSuccess } = JSON.parse(answer) as {
      readonly partialSuccess?: { readonly rejectedDataPoints?: string | number };
    };
    return Number(partialSuccess?.rejectedDataPoints ?? 0);
  } catch {
    return 0;
  }
}
