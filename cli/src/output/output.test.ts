import { describe, expect, test } from 'vitest';
import { parseBytes, parseCount, parseCpus, parseDuration, parseSince, parseWords } from './parse.js';
import { formatTable } from './table.js';
import { compileTemplate } from './template.js';

test('columns are at least ten wide and three apart, and lines have no space at their end', () => {
  expect(
    formatTable([
      ['ID', 'NAME', 'X'],
      ['abcdefghijkl', 'web', ''],
    ]),
  ).toBe('ID             NAME      X\nabcdefghijkl   web\n');
});

describe('flags are read as docker reads them', () => {
  test('sizes', () => {
    const parse = parseBytes('--limit-memory');
    expect([parse('64M'), parse('1.5g'), parse('512KiB'), parse('10'), parse('2mb')]).toEqual([
      67_108_864, 1_610_612_736, 524_288, 10, 2_097_152,
    ]);
    expect(() => parse('64X')).toThrow('invalid argument "64X" for "--limit-memory" flag');
    expect(() => parse('-1')).toThrow('--limit-memory');
  });

  test('CPUs', () => {
    const parse = parseCpus('--limit-cpu');
    expect([parse('0.2'), parse('4'), parse('0.000000001')]).toEqual([200_000_000, 4_000_000_000, 1]);
    expect(() => parse('half')).toThrow('--limit-cpu');
  });

  test('words are split as a shell does, without expansions', () => {
    const parse = parseWords('--entrypoint');
    expect(parse(' sh  -c "echo \\"a b\\" c\\n" ')).toEqual(['sh', '-c', 'echo "a b" c\\n']);
    expect(parse(`a'b c'd\\ e "" '\\'`)).toEqual(['ab cd e', '', '\\']);
    expect(parse('')).toEqual([]);
    for (const open of ['"a', "a 'b", 'a\\']) expect(() => parse(open)).toThrow('close the quotes');
  });

  test('durations', () => {
    const parse = parseDuration('--restart-delay');
    expect([parse('5s'), parse('1m30s'), parse('500ms'), parse('0'), parse('1.5h')]).toEqual([
      5e9, 90e9, 5e8, 0, 5400e9,
    ]);
    expect(() => parse('5')).toThrow('500ms, 10s or 1m30s');
    expect(() => parse('s5')).toThrow('--restart-delay');
  });

  test('counts', () => {
    expect(parseCount('--replicas')('3')).toBe(3);
    expect(() => parseCount('--replicas')('-3')).toThrow('--replicas');
  });

  test('points in time, also as a duration before now', () => {
    const now = Date.parse('2026-01-02T00:00:10Z');
    expect(parseSince('--since', '10s', now)).toBe('1767312000.000');
    expect(parseSince('--since', '2026-01-02T00:00:00Z', now)).toBe('1767312000.000');
    expect(parseSince('--since', '1767312000.5', now)).toBe('1767312000.5');
    expect(() => parseSince('--since', 'yesterday', now)).toThrow('--since');
  });
});

describe('templates', () => {
  const service = { Name: 'web', Mode: { Replicas: 3 }, Env: ['A=1', 'B=2'], Labels: { x: 'y' }, Empty: [] };
  const render = (template: string) => compileTemplate(template)(service);

  test.each([
    ['{{.Name}}', 'web'],
    ['{{.Name}}\\t{{.Mode.Replicas}}', 'web\t3'],
    ['{{json .Mode}}', '{"Replicas":3}'],
    ['{{.Mode | json}}', '{"Replicas":3}'],
    ['{{index .Env 1}} {{index .Labels "x"}}', 'B=2 y'],
    ['{{len .Env}} {{upper .Name}} {{join .Env ","}}', '2 WEB A=1,B=2'],
    ['{{range .Env}}[{{.}}]{{end}}', '[A=1][B=2]'],
    ['{{range .Env}}{{$.Name}} {{end}}', 'web web '],
    ['{{if .Empty}}some{{else}}none{{end}}', 'none'],
    ['{{with .Mode}}{{.Replicas}}{{end}}', '3'],
    ['a {{- .Name -}} b', 'awebb'],
    ['{{.Resources}} {{.Labels.nothing}} {{.Resources.Limits}}', '<no value> <no value> <no value>'],
    ['{{.Env}} {{.Labels}}', '[A=1 B=2] map[x:y]'],
  ])('%s', (template, text) => {
    expect(render(template)).toBe(text);
  });

  test.each([
    ['{{.Nothing}}', "executing at <.Nothing>: can't evaluate field Nothing; there are Name, Mode, Env"],
    ['{{.Mode.Nothing}}', "<.Mode.Nothing>: can't evaluate field Nothing; there are Replicas"],
    ['{{.Name.First}}', "can't evaluate field First"],
    ['{{.Env.First}}', "can't evaluate field First"],
    ['{{range .Env}}{{.Key}}{{end}}', "can't evaluate field Key"],
    ['{{json .Nothing}}', "can't evaluate field Nothing"],
    ['{{.constructor}}', "can't evaluate field constructor"],
  ])('%s names a field that is not there', (template, message) => {
    expect(() => render(template)).toThrow(message);
  });

  test.each([
    '{{printf .Name}}',
    '{{range .Env}}',
    '{{end}}',
    '{{nonsense}}',
    '{{',
    'a {{.Name',
    '{{.Name}} {{',
  ])('%s is an error', (template) => {
    expect(() => render(template)).toThrow('template parsing error');
  });
});
