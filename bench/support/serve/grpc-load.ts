import { GrpcClient } from '../../../test/support/grpc-client.ts';
import { type GrpcOrder, Latencies, type LoadResult } from './load.ts';

/** So many calls, or requests of one stream, in flight until the time is over. Latencies begin when each is sent. */
export async function runGrpc(order: GrpcOrder): Promise<LoadResult> {
  const client = new GrpcClient(order.target);
  const latencies = new Latencies();
  let sent = 0;
  let failed = 0;
  let firstFailure: string | undefined;
  const fail = (what: string): void => {
    failed++;
    firstFailure ??= what;
  };
  const start = performance.now();
  const end = start + order.seconds * 1_000;
  const message = () => {
    const row = order.rows[sent++ % order.rows.length] as Uint8Array;
    const input = { name: 'features', datatype: 'FP32', shape: [1, row.length / 4] };
    return { model_name: order.model, inputs: [input], raw_input_contents: [row] };
  };
  try {
    if (order.kind === 'unary') {
      const loop = async (): Promise<void> => {
        while (performance.now() < end) {
          const at = performance.now();
          const answer = await client.call('ModelInfer', message(), { key: order.key });
          if (answer.status === 0) latencies.add(performance.now() - at);
          else fail(answer.says);
        }
      };
      await Promise.all(Array.from({ length: order.inFlight }, loop));
    } else {
      const times: number[] = [];
      let answered = 0;
      const stream = client.stream(order.key);
      const send = (): void => {
        times.push(performance.now());
        stream.write(message());
      };
      await new Promise<void>((resolve, reject) => {
        stream.on('data', (answer: Record<string, unknown>) => {
          latencies.add(performance.now() - (times[answered++] as number));
          if (answer.error_message !== '' && answer.error_message !== undefined)
            fail(String(answer.error_message));
          if (performance.now() < end) send();
          else if (answered === sent) stream.end();
        });
        stream.on('error', reject);
        stream.on('end', resolve);
        for (let i = 0; i < order.inFlight; i++) send();
      });
    }
  } finally {
    client.close();
  }
  const [p50, p99, p999, max] = latencies.quantiles([0.5, 0.99, 0.999, 1]) as [
    number,
    number,
    number,
    number,
  ];
  return {
    ...{
      sent,
      answered: latencies.count,
      failed,
      p50,
      p99,
      p999,
      max,
      sendDelayP99: 0,
      lagP99: 0,
      lagMax: 0,
    },
    perSecond: latencies.count / ((performance.now() - start) / 1_000),
    ...(firstFailure !== undefined && { firstFailure }),
  };
}
