import type {
  handleBidiStreamingCall,
  handleUnaryCall,
  ServerUnaryCall,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { ServedGuardian, ServerContext } from '../handler.ts';
import { checkReady, findModel, infer, type Waiting, type Wipeable } from '../oip/infer.ts';
import { readStatistics } from '../oip/inference-handlers.ts';
import { modelMetadata, serverMetadata } from '../oip/metadata.ts';
import { loadModel, repositoryIndex, unloadModel } from '../oip/repository.ts';
import type { Admitted, CallGate } from './admit-calls.ts';
import { statusOf } from './admit-calls.ts';
import {
  type InferRequestMessage,
  type ParametersMessage,
  plainParameters,
  readInferMessage,
  writeInferMessage,
} from './infer-messages.ts';
import { checkDecoded, checkRepository, checkVersion } from './message-checks.ts';
import type { MethodName } from './service-definition.ts';
import { streamInfer } from './stream-infer.ts';

/** A call of a unary method, let in. */
interface Asked<Q> {
  readonly guardian: ServedGuardian;
  readonly admitted: Admitted;
  readonly message: Q;
  readonly waiting: () => Waiting;
  readonly deadlineMs: number | undefined;
}

interface NamedModel {
  readonly name: string;
  readonly version: string;
}

interface RepositoryChange {
  readonly repository_name: string;
  readonly model_name: string;
  readonly parameters: ParametersMessage;
}

/** The methods of the service over one guardian; who calls them went past the gate. */
export function serviceOf(context: ServerContext, gate: CallGate): UntypedServiceImplementation {
  const { guardian } = context;
  const unary =
    <Q>(answer: (asked: Asked<Q>) => unknown): handleUnaryCall<Q, unknown> =>
    (call, respond) => {
      answerUnary(context, gate, call, answer).then(
        (value) => respond(null, value),
        (error: unknown) => respond(statusOf(context, error)),
      );
    };
  return {
    ServerLive: unary(() => ({ live: true })),
    ServerReady: unary(() => ({ ready: isTrue(() => checkReady(guardian)) })),
    ModelReady: unary<NamedModel>(({ message }) => ({
      ready: isTrue(() => findModel(guardian, message.name, checkVersion(message.version))),
    })),
    ServerMetadata: unary(() => serverMetadata()),
    ModelMetadata: unary<NamedModel>(({ message }) =>
      modelMetadata(findModel(guardian, message.name, checkVersion(message.version))),
    ),
    ModelInfer: unary<InferRequestMessage>((asked) =>
      inferMessage(guardian, asked.message, { ...asked.waiting(), deadlineMs: asked.deadlineMs }),
    ),
    ModelStreamInfer: ((call) =>
      streamInfer(context, gate.find(call.metadata), call, (message, waiting) =>
        inferMessage(guardian, message, waiting),
      )) satisfies handleBidiStreamingCall<InferRequestMessage, unknown>,
    ModelStatistics: unary<NamedModel>(({ message }) => ({
      model_stats: readStatistics(
        guardian,
        message.name === '' ? undefined : message.name,
        checkVersion(message.version),
      ),
    })),
    RepositoryIndex: unary<{ repository_name: string; ready: boolean }>(async ({ message }) => {
      checkRepository(message.repository_name);
      return { models: await repositoryIndex(guardian, message.ready) };
    }),
    RepositoryModelLoad: unary<RepositoryChange>(async ({ message, admitted }) => {
      checkRepository(message.repository_name);
      await loadModel(guardian, message.model_name, plainParameters(message.parameters), admitted.caller);
      return {};
    }),
    RepositoryModelUnload: unary<RepositoryChange>(async ({ message, admitted }) => {
      checkRepository(message.repository_name);
      await unloadModel(guardian, message.model_name, plainParameters(message.parameters), admitted.caller);
      return {};
    }),
  } satisfies Record<MethodName, unknown> as UntypedServiceImplementation;
}

async function answerUnary<Q>(
  context: ServerContext,
  gate: CallGate,
  call: ServerUnaryCall<Q, unknown>,
  answer: (asked: Asked<Q>) => unknown,
): Promise<unknown> {
  checkDecoded(call.request);
  const admitted = gate.find(call.metadata);
  const waiting = (): Waiting => {
    const controller = new AbortController();
    call.once('cancelled', () => controller.abort());
    if (call.cancelled) controller.abort();
    return { signal: controller.signal, source: admitted.source };
  };
  const deadlineMs = deadlineOf(call.getDeadline());
  return await answer({ guardian: context.guardian, admitted, message: call.request, waiting, deadlineMs });
}

/** One inference, of a call or of a message of a stream. */
function inferMessage(
  guardian: ServedGuardian,
  message: InferRequestMessage,
  { deadlineMs, ...waiting }: Waiting & { readonly deadlineMs?: number | undefined },
): Promise<Record<string, unknown>> {
  const asked = findModel(guardian, message.model_name, checkVersion(message.model_version));
  return infer(guardian, asked, {
    read: (loaded) => {
      const call = readInferMessage(message, loaded);
      const own = call.terms.deadlineMs ?? Number.POSITIVE_INFINITY;
      const earliest = Math.min(own, deadlineMs ?? Number.POSITIVE_INFINITY);
      return earliest === own ? call : { ...call, terms: { ...call.terms, deadlineMs: earliest } };
    },
    write: writeInferMessage,
    waiting,
    received: receivedIn(message),
  });
}

/** Where a message holds its values. */
function receivedIn({ inputs, raw_input_contents: raw }: InferRequestMessage): readonly Wipeable[] {
  const lists = inputs.map(({ contents }) => contents?.fp32_contents as number[] | undefined);
  return [...raw, ...lists.filter((list) => list !== undefined)];
}

/** Milliseconds from now until a call is of no use; undefined where it has no deadline. */
export function deadlineOf(deadline: Date | number): number | undefined {
  const at = Number(deadline);
  // The clock that made the deadline is the system's.
  return Number.isFinite(at) ? Math.max(0, at - Date.now()) : undefined;
}

/** Whether it does not throw: readiness is an answer there, no refusal. */
function isTrue(check: () => unknown): boolean {
  try {
    check();
    return true;
  } catch {
    return false;
  }
}
