// What every checker of the simulator throws: the rule that is broken, by its name in the list of
// invariants, and what shows it. Words are made only when something is wrong.

export class Violation extends Error {
  override readonly name = "Violation";
  readonly rule: string;

  constructor(rule: string, what: string) {
    super(`${rule}: ${what}`);
    this.rule = rule;
  }
}

export function must(condition: boolean, rule: string, what: () => string): asserts condition {
  if (!condition) throw new Violation(rule, what());
}
