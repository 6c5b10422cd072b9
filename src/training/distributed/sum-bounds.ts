import type { Binning } from '../binning.ts';
import { TrainingError } from '../errors.ts';
import { FIXED_POINT } from '../objective.ts';
import { AnswerLayout, readExacts, readSums, SUMS_LENGTH } from './answer.ts';
import type { MemberOperation } from './member-request.ts';
import { planBinning, type RunPlan } from './run-plan.ts';

/**
 * What the sum of a group can be at most, by the rows that its members said to have: no more rows than those, no gradient
 * beyond the clip of as many rows, no hessian below zero. Nobody's vector is seen, so a false one is found only where it carries a
 * sum beyond what all rows together allow; who sent it cannot be told.
 */
export class SumBounds {
  readonly #plan: RunPlan;
  readonly #rows: Readonly<Record<string, number>>;
  readonly #binning: Binning;
  /** Cells of a leaf in the tree in hand. */
  #cells = 0;

  constructor(plan: RunPlan, rows: Readonly<Record<string, number>>) {
    this.#plan = plan;
    this.#binning = planBinning(plan);
    this.#rows = rows;
  }

  /** Throws `training.aggregation-out-of-range` for an opened sum that no rows of the group give. */
  check(question: MemberOperation, sum: Int32Array, group: readonly string[]): void {
    const rows = group.reduce((all, id) => all + (this.#rows[id] ?? 0), 0);
    if (question.kind === 'labels') this.#checkLabels(sum, rows);
    else if (question.kind === 'close-tree') this.#checkLeaves(sum, rows);
    else if (question.kind === 'divide') this.#checkHistograms(sum, rows);
    else if (question.kind === 'open-tree') {
      this.#cells = (new AnswerLayout(this.#binning, question.features).leafLength - 1) / 2;
      this.#checkHistograms(sum, rows);
    }
  }

  #checkHistograms(sum: Int32Array, most: number): void {
    const { gradientLevels: levels } = this.#plan;
    const cells = this.#cells;
    for (let at = 0; at < sum.length; at += 2 * cells + 1) {
      const rows = sum[at + 2 * cells] as number;
      if (!(rows >= 0 && rows <= most)) refuse('rows of a leaf', rows, most);
      const clip = rows * levels;
      for (let i = at; i < at + cells; i++) {
        const gradient = sum[i] as number;
        if (gradient > clip || gradient < -clip) refuse('the gradient of a cell', gradient, clip);
        const hessian = sum[i + cells] as number;
        if (hessian < 0 || hessian > clip) refuse('the hessian of a cell', hessian, clip);
      }
    }
  }

  #checkLeaves(sum: Int32Array, most: number): void {
    const { maxWeight, outputs } = this.#plan;
    const factor = outputs === 1 ? 1 : outputs / (outputs - 1);
    let all = 0;
    if (sum.length % SUMS_LENGTH !== 0) refuse('sums of leaves', sum.length, SUMS_LENGTH);
    for (const { rows, gradient, hessian } of readSums(sum)) {
      if (!(rows >= 0 && rows <= most)) refuse('rows of a leaf', rows, most);
      // Half a unit a row for rounding to fixed point.
      const clip = rows * (maxWeight * FIXED_POINT + 0.5);
      if (!(Math.abs(gradient) <= clip)) refuse('the gradient of a leaf', gradient, clip);
      const top = rows * ((maxWeight * factor * FIXED_POINT) / 4 + 0.5);
      if (!(hessian >= 0 && hessian <= top)) refuse('the hessian of a leaf', hessian, top);
      all += rows;
    }
    if (all > most) refuse('rows of all leaves', all, most);
  }

  #checkLabels(sum: Int32Array, rows: number): void {
    const most = rows * (this.#plan.maxWeight * FIXED_POINT + 0.5);
    let all = 0;
    for (const weight of readExacts(sum)) {
      if (!(weight >= 0 && weight <= most)) refuse('the weight of a class', weight, most);
      all += weight;
    }
    if (all > most) refuse('the weight of all classes', all, most);
  }
}

function refuse(what: string, got: number, most: number): never {
  throw new TrainingError(
    'training.aggregation-out-of-range',
    `expected ${what} that ${most} at most allows, got ${got}: a member gave a vector that no rows give`,
  );
}
