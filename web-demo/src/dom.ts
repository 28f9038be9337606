/** Building SVG by hand: the one element constructor that the chart and the graph share. */

const SVG_NS = 'http://www.w3.org/2000/svg';

/** An SVG element with attributes and children. Numbers are cut to a tenth of a pixel. */
export function svg<K extends keyof SVGElementTagNameMap>(
  name: K,
  attributes: Readonly<Record<string, string | number>> = {},
  ...children: readonly (Node | string)[]
): SVGElementTagNameMap[K] {
  const element = document.createElementNS(SVG_NS, name);
  for (const [key, value] of Object.entries(attributes)) {
    element.setAttribute(key, typeof value === 'number' ? String(Math.round(value * 10) / 10) : value);
  }
  element.append(...children);
  return element;
}

/** Calls `draw` with the size of `host` in CSS pixels, now and whenever it changes. */
export function onResize(host: HTMLElement, draw: (width: number, height: number) => void): void {
  new ResizeObserver(() => draw(host.clientWidth, host.clientHeight)).observe(host);
}

/** The element with this id. The page's own markup has it, so a missing one is a mistake in the page. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no element #${id}`);
  return element as T;
}
