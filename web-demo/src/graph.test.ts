import { expect, test } from 'vitest';
import { linkWidth, placesAround, roomFor } from './graph.ts';

const mbits = (rate: number): number => (rate * 1e6) / 8;

test('a faster link is wider, an idle one has no width, and no rate fills the page', () => {
  const widths = [0, 0.1, 0.5, 2, 10, 50].map((rate) => linkWidth(mbits(rate)));
  expect(widths[0]).toBe(0);
  expect([...widths].sort((a, b) => a - b)).toEqual(widths);
  expect(new Set(widths).size).toBe(widths.length);
  expect(linkWidth(mbits(1e6))).toBe(11);
});

test('the origin stands at the top and viewers go round without meeting', () => {
  const places = placesAround({ x: 100, y: 100 }, { x: 80, y: 60 }, 3);
  expect(places).toHaveLength(4);
  expect(places[0]?.x).toBeCloseTo(100);
  expect(places[0]?.y).toBeCloseTo(40);
  expect(new Set(places.map(({ x, y }) => `${Math.round(x)},${Math.round(y)}`)).size).toBe(4);
});

test('as many small nodes as have room are placed apart from each other', () => {
  for (const radius of [{ x: 100, y: 100 }, { x: 260, y: 113 }, { x: 10, y: 10 }]) {
    const places = placesAround({ x: 0, y: 0 }, radius, roomFor(radius));
    const gaps = places.slice(1).map((place, i) => Math.hypot(place.x - (places[i]?.x ?? 0), place.y - (places[i]?.y ?? 0)));
    const mean = gaps.reduce((sum, gap) => sum + gap, 0) / Math.max(1, gaps.length);
    if (gaps.length > 0) expect(mean).toBeGreaterThan(30);
  }
});
