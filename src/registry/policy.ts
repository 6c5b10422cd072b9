import type { VersioningStrategy } from './names.ts';

/** What a registry demands. The owner of the registry passes it in; nothing in the state can change it. */
export interface RegistryPolicy {
  /**
   * People who have to approve a version before an alias may point at it. `auto` wants two where the keys lie outside of
   * this machine's files, or where whoever asks came by OIDC, and is content with one elsewhere.
   */
  readonly approvals: 1 | 2 | 'auto';
  /** Days after which an approval no longer counts. */
  readonly approvalDays: number;
  /**
   * Whose gates count at the door: with `evaluator` the registry runs them again and refuses where it cannot;
   * with `submitter` it does so where it can, and else takes the report that came with the version.
   */
  readonly gates: 'submitter' | 'evaluator';
  readonly versioning: VersioningStrategy;
  /** The second signature by ML-DSA-65: not made; made, and checked where there is one; demanded of every model. */
  readonly postQuantum: 'off' | 'sign' | 'require';
}

export const DEFAULT_REGISTRY_POLICY: RegistryPolicy = {
  approvals: 'auto',
  approvalDays: 30,
  gates: 'submitter',
  versioning: 'semver',
  postQuantum: 'off',
};
