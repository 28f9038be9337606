import { expect, test } from 'vitest';
import { RecentList } from './report.ts';

test('a recent list keeps the newest, oldest first', () => {
  const list = new RecentList<number>(3);
  for (let i = 1; i <= 1000; i += 1) list.push(i);
  expect(list.items).toEqual([998, 999, 1000]);
});

test('what a recent list hands out does not change later', () => {
  const list = new RecentList<number>(2);
  list.push(1);
  const { items } = list;
  list.push(2);
  expect(items).toEqual([1]);
});
