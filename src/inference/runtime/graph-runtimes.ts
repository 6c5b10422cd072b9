import { type DetectionModel, GraphModel } from '../../models/index.ts';
import type { RuntimeConfig } from './config.ts';
import { GraphRuntime, type GraphRuntimeReport } from './graph-runtime.ts';

/** The processes of an engine's foreign graphs. */
export class GraphRuntimes {
  readonly #config: RuntimeConfig;
  readonly #batchRows: number;
  readonly #open = new Set<GraphRuntime>();

  constructor(config: RuntimeConfig, batchRows: number) {
    this.#config = config;
    this.#batchRows = batchRows;
  }

  get reports(): readonly GraphRuntimeReport[] {
    return [...this.#open].filter(({ isClosed }) => !isClosed).map(({ report }) => report);
  }

  /** A process for a foreign graph; undefined for every other model. Throws as `GraphRuntime.open`. */
  async open(model: DetectionModel): Promise<GraphRuntime | undefined> {
    if (!(model instanceof GraphModel)) return undefined;
    const runtime = await GraphRuntime.open(model, { config: this.#config, batchRows: this.#batchRows });
    for (const other of this.#open) if (other.isClosed) this.#open.delete(other);
    this.#open.add(runtime);
    return runtime;
  }

  /** Ends every process that is left. */
  async close(): Promise<void> {
    await Promise.all([...this.#open].map((runtime) => runtime.close()));
    this.#open.clear();
  }
}
