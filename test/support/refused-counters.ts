/** What a server says it refused: before and after reading a request, and by rate limits. */
export interface RefusedCounters {
  readonly shed: number;
  readonly engine: number;
  readonly rateLimited: number;
  readonly total: number;
}

/** Reads them from its metrics. */
export async function readRefused(server: {
  readonly port: number;
  readonly key: string;
}): Promise<RefusedCounters> {
  const answer = await fetch(`http://127.0.0.1:${server.port}/metrics`, {
    headers: { authorization: `Bearer ${server.key}` },
  });
  return refusedIn(await answer.text());
}

export function refusedIn(metrics: string): RefusedCounters {
  const sum = (series: RegExp) =>
    metrics
      .split('\n')
      .filter((line) => series.test(line))
      .reduce((total, line) => total + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
  const shed = sum(/^guardian_http_shed_total\b/);
  const engine = sum(/^guardian_inference_shed_total\b/);
  const rateLimited = sum(/^guardian_refusals_total\{.*code="server\.rate-limited"/);
  return { shed, engine, rateLimited, total: shed + engine + rateLimited };
}
