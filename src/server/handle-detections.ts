import { type Detection, eveOf, formatCef, ocsfOf } from '../alerts/index.ts';
import { streamDetections } from './detection-stream.ts';
import { ServerError } from './errors.ts';
import type { Handlers, ServedGuardian } from './handler.ts';

export const detectionHandlers = {
  'GET /v1/detections': async ({ guardian, query, reply }) => {
    const { limit, since, kind, source, format } = query;
    const found = await guardian.detections.list({
      limit,
      ...(since !== undefined && { since }),
      ...(kind !== undefined && { kind }),
      ...(source !== undefined && { source }),
    });
    switch (format) {
      case 'native':
        return { detections: await judged(guardian, found) };
      case 'ocsf':
        return { detections: found.map(ocsfOf) };
      case 'eve':
        return { detections: found.map(eveOf) };
      case 'cef':
        return reply
          .type('text/plain; charset=utf-8')
          .send(found.map((each) => `${formatCef(each)}\n`).join(''));
      default:
        return format satisfies never;
    }
  },
  'GET /v1/detections/:uid': async ({ guardian, path }) => {
    const found = await guardian.detections.find(path.uid);
    if (found === undefined) throw new ServerError('server.detection-unknown', 'no detection has this uid');
    return (await judged(guardian, [found]))[0];
  },
  'GET /v1/hosts/:address': ({ guardian, path }) => guardian.host(path.address),
  'GET /v1/detections/stream': ({ context, request, reply, caller }) =>
    streamDetections(context, reply, {
      principal: caller.principal,
      lastId: lastIdOf(request.headers['last-event-id']),
      mayGoOn: () => request.server.stillAdmits(request),
    }),
} satisfies Partial<Handlers>;

/** Empty where nothing was had yet. */
function lastIdOf(header: string | string[] | undefined): string | undefined {
  const [id] = [header].flat();
  return id === '' ? undefined : id;
}

/** Each with what an analyst said of it, under `judgement`. */
async function judged({ triage }: ServedGuardian, found: readonly Detection[]) {
  const verdicts = await triage.verdictsOn(found.map(({ uid }) => uid));
  return found.map((detection) => {
    const said = verdicts.get(detection.uid);
    if (said === undefined) return detection;
    const { verdict, note, principal, time } = said;
    return { ...detection, judgement: { verdict, note, principal, time } };
  });
}
