import { createHmac, randomBytes } from 'node:crypto';

const IPV4 = /\b\d{1,3}(?:\.\d{1,3}){3}\b/g;
const IPV6 = /(?<![\w:.])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?:%\w+)?(?![\w:])/gi;
const MAC = /\b(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}\b/gi;
const ACCOUNT = /[\w.+-]+@[\w-]+(?:\.[\w-]+)+/g;
/** Routes of the API are no places. */
const URL_OR_PATH = /\b[a-z][a-z0-9+.-]*:\/\/[^\s"']+|(?<![\w.])(?!\/v[12]\/)(?:\/[\w.@~-]+){2,}/gi;
const API_KEY = /\bagk_\w+/g;
const PEM = /-----BEGIN [^-]+-----[\s\S]*?(?:-----END [^-]+-----|$)/g;
/** Longer than a word and no digest that says it is one. */
const LONG_CODE = /(?<!sha256:)(?<![\w+/=-])(?=[\w+/=-]*\d)[\w+/=-]{24,}/g;

/** A JSON Schema, as far as it is read here. */
export interface ShapeOfValues {
  readonly properties?: Readonly<Record<string, ShapeOfValues>>;
  readonly items?: ShapeOfValues;
  readonly anyOf?: readonly ShapeOfValues[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly default?: unknown;
}

/**
 * Takes out of a report what names hosts, people or places, or opens a door. The same text has the same mark within one
 * report, so that what belongs together is still seen; the key of the marks is thrown away with this object.
 */
export class Redaction {
  readonly #key = randomBytes(32);

  /** Known secrets are dropped, addresses, accounts, URLs and paths become marks. */
  text(text: string): string {
    return text
      .replaceAll(PEM, '[key]')
      .replaceAll(API_KEY, '[key]')
      .replaceAll(URL_OR_PATH, (found) => this.#mark('place', found))
      .replaceAll(ACCOUNT, (found) => this.#mark('account', found))
      .replaceAll(MAC, (found) => this.#mark('host', found))
      .replaceAll(IPV4, (found) => this.#mark('host', found))
      .replaceAll(IPV6, (found) => this.#mark('host', found))
      .replaceAll(LONG_CODE, '[code]');
  }

  /** The same of every text in a value, keys of objects included. */
  value(value: unknown): unknown {
    if (typeof value === 'string') return this.text(value);
    if (Array.isArray(value)) return value.map((each) => this.value(each));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([name, each]) => [this.text(name), this.value(each)]),
    );
  }

  /**
   * Configuration: numbers and flags stay, and texts that the schema itself names, as one of a few or as the default.
   * What somebody wrote is a mark, whatever it looks like.
   */
  configuration(value: unknown, shape: ShapeOfValues | undefined): unknown {
    if (typeof value === 'string') return namesIt(shape, value) ? value : this.#mark('text', value);
    if (Array.isArray(value)) return value.map((each) => this.configuration(each, shape?.items));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([name, each]) => {
        const known = shape?.properties?.[name];
        return [known === undefined ? this.#mark('text', name) : name, this.configuration(each, known)];
      }),
    );
  }

  #mark(kind: string, text: string): string {
    const mark = createHmac('sha256', this.#key).update(text.toLowerCase()).digest('hex').slice(0, 10);
    return `[${kind} ${mark}]`;
  }
}

function namesIt(shape: ShapeOfValues | undefined, value: string): boolean {
  if (shape === undefined) return false;
  if (shape.enum?.includes(value) || shape.const === value || shape.default === value) return true;
  return shape.anyOf?.some((each) => namesIt(each, value)) ?? false;
}
