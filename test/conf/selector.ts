// Label selectors as the fake API server reads them.

export type Labels = Readonly<Record<string, string>> | undefined;

/** `selector`: KEY=VALUE and KEY!=VALUE, separated by commas, of which all must hold. */
export function isSelected(labels: Labels, selector: string): boolean {
  return selector.split(",").every((one) => {
    const [, key = "", not, value] = /^(.+?)(!?)=(.*)$/.exec(one) ?? [];
    return (labels?.[key] === value) === (not === "");
  });
}
