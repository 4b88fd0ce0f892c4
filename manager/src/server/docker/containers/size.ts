import { invalid } from '@tessera/shared/errors';

const SIDE_MAX = 65_535;

/** `h` and `w` of a terminal. @throws ClusterError `invalidArgument` */
export function sizeOf(query: URLSearchParams): { readonly rows: number; readonly columns: number } {
  const [rows, columns] = ['h', 'w'].map((key) => {
    const value = query.get(key) ?? '';
    if (!/^\d{1,5}$/.test(value) || Number(value) > SIDE_MAX)
      throw invalid(`${key}: '${value}' is no number of ${key === 'h' ? 'rows' : 'columns'}`);
    return Number(value);
  });
  return { rows: rows!, columns: columns! };
}
