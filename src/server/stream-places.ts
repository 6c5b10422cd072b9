import { ServerError } from './errors.ts';

/** Places for long answers, some in all and some of them for each caller: nobody keeps all the others out. */
export class StreamPlaces {
  readonly #most: number;
  readonly #mostPerCaller: number;
  readonly #taken = new Map<string, number>();
  #all = 0;

  constructor(most: number, mostPerCaller: number) {
    this.#most = most;
    this.#mostPerCaller = mostPerCaller;
  }

  /** Takes a place, to be left once. Throws `server.streams-full`. */
  enter(principal: string): void {
    const own = this.#taken.get(principal) ?? 0;
    if (own >= this.#mostPerCaller) {
      throw new ServerError('server.streams-full', `${own} streams of this caller are open`);
    }
    if (this.#all >= this.#most)
      throw new ServerError('server.streams-full', `${this.#all} streams are open`);
    this.#taken.set(principal, own + 1);
    this.#all++;
  }

  leave(principal: string): void {
    const left = (this.#taken.get(principal) ?? 1) - 1;
    if (left > 0) this.#taken.set(principal, left);
    else this.#taken.delete(principal);
    this.#all--;
  }
}
