import { type ErrorCatalogue, GuardianError, type GuardianErrorOptions } from '../base/index.ts';

/** Codes of `training`. */
export const TRAINING_ERRORS = {
  'training.config-invalid': {
    category: 'validation',
    retry: false,
    says: 'The training configuration has an unknown key or a value outside its range; the message names it.',
  },
  'training.table-invalid': {
    category: 'validation',
    retry: false,
    says: 'The rows, labels or types of the training table do not fit each other or the schema.',
  },
  'training.too-few-rows': {
    category: 'validation',
    retry: false,
    says: 'A class has too few rows to train on and to hold some out; bring more rows.',
  },
  'training.trees-refused': {
    category: 'model',
    retry: false,
    says: 'Trees of another library do not fit the schema or give no log-odds, and cannot become a candidate.',
  },
  'training.graph-refused': {
    category: 'model',
    retry: false,
    says: 'A foreign graph gives no numbers that speak of attacks, and cannot become a candidate.',
  },
  'training.memory-exceeded': {
    category: 'resource',
    retry: true,
    says: 'Training held more memory than `training.limits.maxMemoryBytes` and none was given back; nothing was published.',
  },
  'training.roster-refused': {
    category: 'security',
    retry: false,
    says: 'The roster of a secure run is not signed by the approver, or breaks a rule on threshold and group size.',
  },
  'training.aggregation-tampered': {
    category: 'security',
    retry: false,
    says: 'A message of secure aggregation is not what its sender signed or is held to; the message names the member.',
  },
  'training.aggregation-equivocation': {
    category: 'security',
    retry: false,
    says: 'Members of a secure run were told different things; nothing was revealed.',
  },
  'training.aggregation-replayed': {
    category: 'security',
    retry: false,
    says: 'A message of secure aggregation came a second time, late, or was made for another round.',
  },
  'training.aggregation-below-threshold': {
    category: 'resource',
    retry: true,
    says: 'Too few members of a secure run are left for a sum to be opened; nothing was revealed.',
  },
  'training.aggregation-two-answers': {
    category: 'security',
    retry: false,
    says: 'A second sum was asked for whose group differs by so few members that subtracting would show their data.',
  },
  'training.aggregation-out-of-range': {
    category: 'security',
    retry: false,
    says: 'An opened sum is beyond what the rows of its members allow; one of them gave a false vector, and which one is not seen.',
  },
  'training.message-refused': {
    category: 'security',
    retry: false,
    says: 'A message of distributed training is malformed, or asks for what a run does not allow; nothing was answered.',
  },
  'training.lease-lost': {
    category: 'resource',
    retry: true,
    says: 'A worker or coordinator speaks under a lease that another one has taken meanwhile; it is refused.',
  },
  'training.workers-missing': {
    category: 'resource',
    retry: true,
    says: 'No worker that can take the shards of a distributed run answered in time.',
  },
  'training.member-missing': {
    category: 'resource',
    retry: true,
    says: 'A member of a secure run did not answer in time, and the run waits for everyone; nothing was revealed.',
  },
  'training.answered-unreadable': {
    category: 'security',
    retry: false,
    says: 'What a member of a secure run has answered cannot be read; it answers nothing more in that run.',
  },
  'training.checkpoint-missing': {
    category: 'resource',
    retry: false,
    says: 'There is no checkpoint to go on from; train without --resume to begin anew.',
  },
  'training.checkpoint-mismatch': {
    category: 'validation',
    retry: false,
    says: 'The checkpoint is of another run: other data, configuration, schema, seed or trainer; the message names which.',
  },
  'training.checkpoint-unreadable': {
    category: 'validation',
    retry: false,
    says: 'The checkpoint was written by another version of the trainer; begin anew.',
  },
  'training.checkpoint-tampered': {
    category: 'security',
    retry: false,
    says: 'The checkpoint was torn, changed or exchanged since it was sealed; find out by whom, then begin anew.',
  },
  'training.checkpoint-rolled-back': {
    category: 'security',
    retry: false,
    says: 'An older checkpoint was put in the place of the last one; find out by whom, then begin anew.',
  },
  'training.checkpoint-superseded': {
    category: 'resource',
    retry: false,
    says: 'Another training of the same name has begun; this one goes on without checkpoints.',
  },
} as const satisfies ErrorCatalogue;

export type TrainingErrorCode = keyof typeof TRAINING_ERRORS;

export class TrainingError extends GuardianError {
  constructor(code: TrainingErrorCode, message: string, options?: GuardianErrorOptions) {
    super(TRAINING_ERRORS, code, message, options);
  }
}
