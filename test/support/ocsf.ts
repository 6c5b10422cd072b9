import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface Attribute {
  readonly requirement?: string;
  readonly enum?: Readonly<Record<string, { readonly caption: string; readonly description?: string }>>;
  readonly type?: string;
  readonly is_array?: boolean;
  readonly sibling?: string;
  /** Name of the profile it belongs to; null where a class takes it without one. */
  readonly profile?: string | null;
}

interface Definition {
  readonly name: string;
  readonly extends?: string;
  readonly uid?: number;
  readonly caption?: string;
  readonly observable?: number;
  readonly attributes: Readonly<Record<string, Attribute>> & { readonly $include?: readonly string[] };
  readonly constraints?: Readonly<Record<string, readonly string[]>>;
}

interface ScalarType {
  readonly caption?: string;
  readonly type?: string;
  readonly regex?: string;
  readonly max_len?: number;
  readonly range?: readonly [number, number];
  readonly observable?: number;
}

interface Compiled {
  readonly attributes: ReadonlyMap<string, Attribute>;
  readonly constraints: Readonly<Record<string, readonly string[]>>;
}

const CLASS_UID = 2004;
const CATEGORY_UID = 2;

/**
 * The uncompiled OCSF schema of a folder, compiled as far as a Detection Finding needs: `extends`, `$include` of
 * profiles, types, ranges, enumerations with their captions, and constraints from dictionary and objects.
 */
export class OcsfSchema {
  readonly #root: string;
  readonly #dictionary: Readonly<
    Record<string, Attribute & { readonly observable?: number; readonly caption?: string }>
  >;
  readonly #types: Readonly<Record<string, ScalarType>>;
  readonly #objects = new Map<string, Definition>();
  readonly #events = new Map<string, Definition>();
  /** Captions of the observable types, by id. */
  readonly #observables: Record<string, { readonly caption: string }> = {};

  constructor(root: string) {
    this.#root = root;
    const dictionary = this.#read('dictionary.json') as Definition & {
      types: { attributes: Record<string, ScalarType> };
    };
    this.#dictionary = dictionary.attributes;
    this.#types = dictionary.types.attributes;
    for (const file of globSync('objects/*.json', { cwd: root })) this.#keep(this.#objects, file);
    for (const file of globSync('events/**/*.json', { cwd: root })) this.#keep(this.#events, file);
    const all = [
      ...Object.values(this.#types),
      ...Object.values(this.#dictionary),
      ...this.#objects.values(),
    ];
    for (const { observable, caption = '' } of all) {
      if (observable !== undefined) this.#observables[observable] = { caption };
    }
  }

  /** What is wrong with the finding, a line each; empty where it conforms. */
  checkDetectionFinding(event: Readonly<Record<string, unknown>>): string[] {
    const { profiles } = event.metadata as { profiles?: string[] };
    const problems = this.#check(
      '',
      event,
      this.#compile(this.#events, 'detection_finding'),
      new Set(profiles),
    );
    const expected = {
      class_uid: CLASS_UID,
      category_uid: CATEGORY_UID,
      type_uid: CLASS_UID * 100 + Number(event.activity_id),
    };
    for (const [name, value] of Object.entries(expected)) {
      if (event[name] !== value) problems.push(`${name}: expected ${value}, got ${event[name]}`);
    }
    return problems;
  }

  #check(
    at: string,
    value: Readonly<Record<string, unknown>>,
    compiled: Compiled,
    profiles: Set<string>,
  ): string[] {
    const problems: string[] = [];
    for (const [name, { requirement, profile }] of compiled.attributes) {
      const isInForce = profile === undefined || profile === null || profiles.has(profile);
      if (requirement === 'required' && isInForce && value[name] === undefined)
        problems.push(`${at}${name}: missing`);
    }
    for (const [name, inner] of Object.entries(value)) {
      const attribute = compiled.attributes.get(name);
      if (attribute === undefined) problems.push(`${at}${name}: not in the schema`);
      else if (typeof attribute.profile === 'string' && !profiles.has(attribute.profile)) {
        problems.push(`${at}${name}: needs the profile ${attribute.profile}`);
      } else if (attribute.is_array !== Array.isArray(inner) && attribute.is_array) {
        problems.push(`${at}${name}: not an array`);
      } else {
        for (const item of attribute.is_array ? (inner as unknown[]) : [inner]) {
          problems.push(...this.#checkOne(`${at}${name}`, item, attribute, profiles));
        }
        problems.push(...this.#checkSibling(at, name, value, attribute));
      }
    }
    const atLeastOne = compiled.constraints.at_least_one;
    if (atLeastOne !== undefined && !atLeastOne.some((name) => value[name] !== undefined)) {
      problems.push(`${at}: none of ${atLeastOne.join(', ')}`);
    }
    return problems;
  }

  #checkOne(at: string, value: unknown, attribute: Attribute, profiles: Set<string>): string[] {
    const type = attribute.type ?? '';
    if (type === 'json_t') return [];
    if (this.#objects.has(type)) {
      if (typeof value !== 'object' || value === null || Array.isArray(value))
        return [`${at}: not an object`];
      // `unmapped` is the generic object, which may hold anything.
      if (type === 'object') return [];
      return this.#check(
        `${at}.`,
        value as Record<string, unknown>,
        this.#compile(this.#objects, type),
        profiles,
      );
    }
    const problems = this.#checkScalar(value, type).map((problem) => `${at}: ${problem}`);
    const isClassified = attribute.enum !== undefined && !/(class|category)_uid$/.test(at);
    if (isClassified && !Object.hasOwn(attribute.enum ?? {}, String(value))) {
      problems.push(`${at}: ${value} is not in the enumeration`);
    }
    return problems;
  }

  #checkScalar(value: unknown, type: string): string[] {
    const scalar = this.#types[type];
    if (scalar === undefined) return [`unknown type ${type}`];
    const base = scalar.type ?? type;
    const isRight = {
      string_t: typeof value === 'string',
      integer_t: Number.isInteger(value),
      long_t: Number.isInteger(value),
      float_t: typeof value === 'number',
      boolean_t: typeof value === 'boolean',
    }[base];
    if (isRight !== true) return [`${JSON.stringify(value)} is not of type ${base}`];
    const problems: string[] = [];
    if (scalar.regex !== undefined && !new RegExp(scalar.regex).test(String(value)))
      problems.push(`is not a ${type}`);
    if (scalar.max_len !== undefined && String(value).length > scalar.max_len) problems.push('is too long');
    const [low, high] = scalar.range ?? [];
    if (low !== undefined && high !== undefined && !(Number(value) >= low && Number(value) <= high)) {
      problems.push(`${value} is out of range`);
    }
    if (base === 'long_t' && type !== 'timestamp_t' && Number(value) < 0) problems.push('is negative');
    return problems;
  }

  /** Where an enumerated id has a text beside it, the text is the caption, unless the id is 99. */
  #checkSibling(
    at: string,
    name: string,
    value: Readonly<Record<string, unknown>>,
    attribute: Attribute,
  ): string[] {
    const text = attribute.sibling === undefined ? undefined : value[attribute.sibling];
    const caption = attribute.enum?.[String(value[name])]?.caption;
    if (text === undefined || caption === undefined || value[name] === 99 || /_uid$/.test(name)) return [];
    return text === caption ? [] : [`${at}${attribute.sibling}: expected ${caption}, got ${text}`];
  }

  #compile(definitions: ReadonlyMap<string, Definition>, name: string): Compiled {
    const definition = definitions.get(name);
    if (definition === undefined) return { attributes: new Map(), constraints: {} };
    const parent = definition.extends;
    const base: Compiled =
      parent === undefined ? { attributes: new Map(), constraints: {} } : this.#compile(definitions, parent);
    const attributes = new Map(base.attributes);
    const { $include = [], ...own } = definition.attributes;
    for (const file of $include) {
      const profile = this.#read(file);
      for (const [key, attribute] of Object.entries(profile.attributes)) {
        this.#merge(attributes, key, { ...attribute, profile: profile.name });
      }
    }
    for (const [key, attribute] of Object.entries(own)) this.#merge(attributes, key, attribute);
    return { attributes, constraints: { ...base.constraints, ...definition.constraints } };
  }

  #merge(attributes: Map<string, Attribute>, name: string, attribute: Attribute): void {
    const before = attributes.get(name) ?? this.#dictionary[name] ?? {};
    const isObservable = this.#isObservableType(name, attribute);
    const observed = isObservable ? this.#observables : undefined;
    const values =
      (before.enum ?? attribute.enum) ? { ...before.enum, ...attribute.enum, ...observed } : undefined;
    // A class that has an attribute of its own and then of a profile keeps it without the profile.
    const isOwn =
      attributes.has(name) && attributes.get(name)?.profile === undefined && attribute.profile !== undefined;
    attributes.set(name, {
      ...before,
      ...attribute,
      ...(isOwn && { profile: null }),
      ...(values !== undefined && { enum: values }),
    });
  }

  /** The type of an observable is listed over the whole schema, wherever something is called observable. */
  #isObservableType(name: string, { enum: values }: Attribute): boolean {
    return name === 'type_id' && values?.['0']?.description?.includes('observable') === true;
  }

  #keep(into: Map<string, Definition>, file: string): void {
    const definition = this.#read(file);
    into.set(definition.name, definition);
  }

  #read(file: string): Definition {
    return JSON.parse(readFileSync(join(this.#root, file), 'utf8')) as Definition;
  }
}
