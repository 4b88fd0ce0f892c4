/** A duration in the words of docker's lists: "5 seconds", "About an hour". Source: docker/go-units HumanDuration. */
export function humanDuration(ms: number): string {
  const plural = (count: number, unit: string) => `${Math.floor(count)} ${unit}${count < 2 ? '' : 's'}`;
  const seconds = ms / 1_000;
  if (seconds < 1) return 'Less than a second';
  if (seconds < 60) return plural(seconds, 'second');
  const minutes = seconds / 60;
  if (minutes < 2) return 'About a minute';
  if (minutes < 60) return plural(minutes, 'minute');
  const hours = Math.round(minutes / 60);
  if (hours === 1) return 'About an hour';
  if (hours < 48) return plural(hours, 'hour');
  const days = hours / 24;
  if (days < 14) return plural(days, 'day');
  if (days < 60) return plural(days / 7, 'week');
  if (days < 730) return plural(days / 30, 'month');
  return plural(minutes / 60 / 24 / 365, 'year');
}

/** "5 seconds ago", in lower case as a part of a sentence. */
export const timeAgo = (nowMs: number, thenMs: number): string =>
  `${humanDuration(Math.max(0, nowMs - thenMs)).toLowerCase()} ago`;
