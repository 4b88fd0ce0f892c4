/** Three digits and a decimal unit: 4.26MB. */
export const decimalSize = (bytes: number): string =>
  size(bytes, 1000, ['B', 'kB', 'MB', 'GB', 'TB', 'PB'], 3);

/** Four digits and a binary unit: 64MiB. */
export const binarySize = (bytes: number): string =>
  size(bytes, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'], 4);

function size(bytes: number, base: number, units: readonly string[], digits: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= base && unit < units.length - 1) {
    value /= base;
    unit++;
  }
  return `${Number(value.toPrecision(digits))}${units[unit]}`;
}
