export { ATTACK_KINDS, type AttackKind } from './attacks/stage.ts';
export { LAB_ERRORS, LabError, type LabErrorCode } from './errors.ts';
export {
  generate,
  LAB_LINK_TYPE,
  LAB_SNAP_LENGTH,
  type LabPacket,
  LabRun,
  type LabSummary,
  labPackets,
  type Recipe,
  type WriteLabOptions,
  writeLab,
} from './generate.ts';
export { LABELS_HEADER, LabLabels } from './labels.ts';
