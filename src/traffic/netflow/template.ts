import { type Element, ENCODING, findElement, PEN, VARIABLE_LENGTH } from './information-elements.ts';

/** One field of a template as it is announced. */
export interface TemplateField {
  /** Private enterprise number, 0 for IANA's elements. */
  readonly pen: number;
  readonly id: number;
  /** Bytes, or `VARIABLE_LENGTH`. */
  readonly length: number;
}

/** A field that is read, at a place that is the same in every record. */
interface FieldRead extends Element {
  readonly offset: number;
  readonly length: number;
}

/** How the records of a data set are laid out. */
export interface Template {
  readonly isOptions: boolean;
  readonly fieldCount: number;
  /** Shortest record: its length where no field varies. */
  readonly minLength: number;
  /** The fields that are read, where no field varies in length. */
  readonly fixed: readonly FieldRead[] | undefined;
  /** Every field, where one varies. */
  readonly fields: readonly (TemplateField & { readonly element: Element | undefined })[];
  /** The exporter is nProbe, for which OUT_BYTES counts the other direction in IPFIX too. */
  readonly isNtop: boolean;
}

/** Lays a template out, or gives undefined where its records would be empty. */
export function compileTemplate(fields: readonly TemplateField[], isOptions: boolean): Template | undefined {
  const known = fields.map((field) => ({
    ...field,
    element: findElement(field.pen, field.id, field.length),
  }));
  const isVariable = fields.some((field) => field.length === VARIABLE_LENGTH);
  let offset = 0;
  const fixed: FieldRead[] = [];
  for (const { element, length } of known) {
    if (element !== undefined) fixed.push({ ...element, offset, length });
    offset += length === VARIABLE_LENGTH ? 1 : length;
  }
  if (offset === 0) return undefined;
  return {
    isOptions,
    fieldCount: fields.length,
    minLength: offset,
    fixed: isVariable ? undefined : fixed,
    fields: isVariable
      ? known.map((field) => ({ ...field, element: field.element ?? variableText(field) }))
      : [],
    isNtop: fields.some((field) => field.pen === PEN.ntop),
  };
}

/** Texts come with any length; numbers of variable length are not read. */
function variableText(field: TemplateField): Element | undefined {
  const element = findElement(field.pen, field.id, 1);
  return field.length === VARIABLE_LENGTH && element?.encoding === ENCODING.text ? element : undefined;
}
