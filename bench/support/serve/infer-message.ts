/** A request of one row as JSON, whole as it goes over a connection. `headers` end in CR LF each. */
export function inferMessage(model: string, headers: string, row: Float32Array): Uint8Array {
  const input = { name: 'features', datatype: 'FP32', shape: [1, row.length], data: Array.from(row) };
  const body = Buffer.from(JSON.stringify({ inputs: [input] }));
  const head = `POST /v2/models/${model}/infer HTTP/1.1\r\n${headers}content-type: application/json\r\n`;
  return Buffer.concat([Buffer.from(`${head}content-length: ${body.length}\r\n\r\n`), body]);
}
