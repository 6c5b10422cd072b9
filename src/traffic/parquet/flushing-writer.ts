import type { FileHandle } from 'node:fs/promises';
import type { SchemaElement } from 'hyparquet';
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';

/** A writer of Parquet and the bytes it has written. */
export interface FlushingWriter {
  readonly writer: ParquetWriter;
  readonly bytes: FlushingBytes;
}

/** Bytes that leave memory for a file between two row groups, while the offsets go on counting. */
export class FlushingBytes extends ByteWriter {
  async drain(file: FileHandle): Promise<void> {
    const bytes = new Uint8Array(this.buffer, 0, this.index);
    for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten;
    this.index = 0;
  }

  override finish(): void {}
}

export function newFlushingWriter(schema: SchemaElement[]): FlushingWriter {
  const bytes = new FlushingBytes();
  return {
    bytes,
    writer: new ParquetWriter({ writer: bytes, schema, statistics: false, createdBy: 'ai-guardian' }),
  };
}
