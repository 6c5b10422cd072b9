/** Runs cases one after the other and prints one JSON object a case: its name, and what was wrong. */
export async function runCases(cases: Readonly<Record<string, () => Promise<void>>>): Promise<void> {
  for (const [name, run] of Object.entries(cases)) {
    const problem = await run().then(
      () => undefined,
      (error: unknown) => (error instanceof Error ? (error.stack ?? error.message) : String(error)),
    );
    process.stdout.write(`${JSON.stringify({ name, problem })}\n`);
  }
}
