export { type IpAddress, type IpNetwork, networkContains, parseAddress, parseNetwork } from './address.ts';
export { type Decision, type DecisionInput, type DecisionVerdict, decide } from './decide.ts';
export { RESPONSE_ERRORS, ResponseError, type ResponseErrorCode } from './errors.ts';
export { Guardrails, type JudgedFlow, type ResponseCounters } from './guardrails.ts';
export { type MachineSources, type OwnAddress, readMachineAddresses } from './machine-addresses.ts';
export { type NetworkEntry, NetworkSet } from './network-set.ts';
export {
  createPolicy,
  type Policy,
  type PolicyParts,
  type ResponseConfig,
  responseConfigSchema,
} from './policy.ts';
export { type BlockSource, RAILS, type RailName, type Standing, type Veto } from './rails.ts';
export { isSourceProven } from './source-proof.ts';
export { parseTarget, type Target } from './target.ts';
